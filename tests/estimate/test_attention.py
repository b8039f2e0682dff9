"""Attention over the sequence adds to the operations, and to the hours beyond published runs'."""

from __future__ import annotations

import dataclasses

import pytest

from carbon_trainer.estimate.attention import REFERENCE_TOKENS, share_of_all, size_of
from carbon_trainer.estimate.estimate import Job, estimate
from carbon_trainer.models.recipes import recipes

SEVEN = Job(parameters=7e9, tokens=1e12, gpu="A100")
SHAPED = dataclasses.replace(SEVEN, layers=32, width=4096)


def _with(job: Job, tokens: int | None, **more: object) -> Job:
    return dataclasses.replace(job, sequence_length=tokens, **more)


def test_operations_are_those_of_palms_appendix() -> None:
    estimated = estimate(_with(SHAPED, 8192))
    assert estimated.flops == pytest.approx((6 * 7e9 + 12 * 32 * 4096 * 8192) * 1e12)


def test_without_a_sequence_nothing_changes() -> None:
    estimated = estimate(SEVEN)
    assert estimated.attention is None
    assert estimated.flops == 6 * 7e9 * 1e12


def test_hours_at_the_sequence_of_published_runs_are_theirs() -> None:
    usual, plain = estimate(_with(SEVEN, REFERENCE_TOKENS)), estimate(SEVEN)
    assert usual.gpu_hours == plain.gpu_hours
    assert usual.flops > plain.flops


def test_hours_grow_as_the_operations_do() -> None:
    short, long = (estimate(_with(SHAPED, tokens)) for tokens in (2048, 65536))
    assert long.gpu_hours.value / short.gpu_hours.value == pytest.approx(long.flops / short.flops)


def test_a_utilisation_that_is_told_counts_all_operations() -> None:
    plain, long = (
        estimate(dataclasses.replace(SHAPED, layers=None, width=None, mfu=0.4)),
        estimate(_with(SHAPED, 4096, mfu=0.4)),
    )
    assert long.gpu_hours.value / plain.gpu_hours.value == pytest.approx(long.flops / plain.flops)


def test_an_assumed_shape_makes_the_interval_wider_and_says_so() -> None:
    shaped, assumed = estimate(_with(SHAPED, 65536)), estimate(_with(SEVEN, 65536))
    assert assumed.gpu_hours.log_sigma > shaped.gpu_hours.log_sigma
    assert assumed.attention is not None
    assert "assumed" in assumed.attention[1]


def test_an_assumed_share_holds_the_true_one_of_about_four_known_models_in_five() -> None:
    is_covered = []
    for name, recipe in recipes().items():
        if recipe.shape is None or name.endswith("-tiny"):
            continue
        parameters = float(recipe.parameters())
        low, high = size_of(parameters, None, None).over_parameters(parameters, 4096).interval
        truth = 2 * recipe.shape.layers * recipe.shape.query * 4096 / parameters
        is_covered.append(low < truth < high)
    assert 0.7 < sum(is_covered) / len(is_covered) < 0.97


def test_a_share_of_all_operations_stays_below_one() -> None:
    share = share_of_all(size_of(7e9, 32, 4096).over_parameters(7e9, 10**7))
    assert 0.99 < share.value < 1
