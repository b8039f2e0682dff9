"""What a report says of communication: from the watched steps, with the spread between them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import CommunicationSampled
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.build import render_run
from carbon_trainer.reports.figures.communication import Communication
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.reports.recompute import recompute
from tests.reports.ledgers import CONFIG, RUN, Resumed, S, described, finished

MJ_PER_KWH = 3_600_000_000


def sampled(step: int, communication_ms: int, exposed_ms: int) -> CommunicationSampled:
    """A step of 100 ms."""
    return CommunicationSampled(
        step=step, ranks=2, backend="nccl", step_ns=100_000_000,
        communication_ns=communication_ms * 1_000_000, exposed_ns=exposed_ms * 1_000_000,
    )  # fmt: skip


def watched(path: Path, *steps: CommunicationSampled) -> Ledger:
    """A minute in which steps are watched; then one in which none is."""
    chain = described(path)
    chain.train(30)
    chain.put(*steps)
    chain.train(30)
    chain.put(
        Resumed(checkpoint="c", step=chain.step, config=CONFIG, energy_before_mj=0),
    )
    chain.now_ns += S
    chain.train(60)
    chain.close()
    return chain.ledger


def told(ledger: Ledger) -> Communication:
    communication = run_figures(ledger, RUN).communication
    assert communication is not None
    return communication


def test_shares_are_means_with_their_standard_error(tmp_path: Path) -> None:
    figures = told(watched(tmp_path / "l", sampled(10, 20, 4), sampled(20, 40, 8)))
    assert (figures.share.value, figures.exposed.value) == (pytest.approx(30), pytest.approx(6))
    assert figures.share.sigma == pytest.approx(10)
    assert figures.exposed.sigma == pytest.approx(2)


def test_one_watched_step_has_no_uncertainty_and_neither_has_what_is_made_of_it(
    tmp_path: Path,
) -> None:
    figures = told(watched(tmp_path / "l", sampled(10, 20, 4)))
    assert [figure.sigma for figure in figures.figures()] == [None] * 4


def test_energy_is_the_exposed_share_of_the_training_in_segments_that_were_watched(
    tmp_path: Path,
) -> None:
    ledger = watched(tmp_path / "l", sampled(10, 20, 4), sampled(20, 40, 8))
    intervals = ledger.intervals(RUN)
    first = intervals[intervals["end_ns"] <= intervals["start_ns"].min() + 60 * S]
    training_mj = int(first[first["phase"] == "train"]["energy_mj"].sum())
    figures = told(ledger)
    assert figures.energy.value == pytest.approx(0.06 * training_mj / MJ_PER_KWH)
    assert figures.energy.method == "estimated"
    assert figures.energy.sigma is not None
    # A third of the share's own uncertainty, at least.
    assert figures.energy.sigma > figures.energy.value / 3
    assert figures.per_step.value == pytest.approx(0.06 * training_mj / 1000 / 60)
    assert math.isclose(
        figures.per_step.sigma / figures.per_step.value,
        figures.energy.sigma / figures.energy.value,
    )  # fmt: skip


def test_a_run_of_which_no_step_was_watched_says_nothing(tmp_path: Path) -> None:
    ledger = finished(tmp_path / "l")
    assert run_figures(ledger, RUN).communication is None
    assert "ommunication" not in render_run(ledger, RUN, "json")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["md", "html", "json"])
def test_every_form_tells_the_figures(tmp_path: Path, form: str) -> None:
    text = render_run(watched(tmp_path / "l", sampled(10, 20, 4)), RUN, form)
    assert "Exposed communication" in text
    assert "Energy of exposed communication" in text


def test_an_audit_makes_the_same_figures_again(tmp_path: Path) -> None:
    ledger = watched(tmp_path / "l", sampled(10, 20, 4), sampled(20, 40, 8))
    published = json.loads(render_run(ledger, RUN, "json"))
    assert recompute(ledger, RUN, published) == []
    published["figures"]["communication-share"]["value"] += 1
    assert recompute(ledger, RUN, published)
