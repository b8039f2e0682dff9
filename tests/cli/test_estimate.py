"""``carbon-train estimate``."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.commands import Ended

Train = Callable[..., Ended]
JOB = ("--params", "20e9", "--tokens", "400B", "--gpu", "A100", "--gpus", "96")


def test_a_training_is_estimated_with_intervals_factors_and_sources(carbon_train: Train) -> None:
    out = carbon_train("estimate", *JOB, "--zone", "DE", "--start", "2026-12-01").out
    assert "20 B parameters, 400 B tokens, 96 x A100" in out
    for label in ("GPU-hours", "Days", "Energy of the facility", "Emissions", "Embodied", "Ends"):
        assert label in out
    assert "80 % interval" in out
    assert "estimated" in out
    assert "measured" not in out
    assert "Germany" in out


def test_json_has_the_same_figures_with_method_and_interval(carbon_train: Train) -> None:
    told = json.loads(carbon_train("estimate", *JOB, "--price-per-kwh", "0.2", "--json").out)
    figures = told["figures"]
    assert {one["method"] for one in figures.values()} == {"estimated"}
    assert all(one["low"] < one["value"] < one["high"] for one in figures.values())
    assert figures["cost"]["value"] == pytest.approx(0.2 * figures["energy_kwh"]["value"])


def test_a_run_of_the_size_that_is_said_of_gpt_4_can_be_estimated(carbon_train: Train) -> None:
    ended = carbon_train("estimate", "--params", "280e9", "--tokens", "13T", "--gpus", "25000")
    assert ended.status == 0


def test_published_runs_are_listed_with_their_sources(carbon_train: Train) -> None:
    lines = carbon_train("estimate", "--list").out.splitlines()
    (pythia,) = [line for line in lines if line.startswith("Pythia 12B")]
    assert "72,300" in pythia
    (source,) = [line for line in lines if "arXiv 2304.01373" in line]
    assert source.split(".")[0] == pythia.split()[-1]
    assert any("OPT-175B: hours are assumed" in line for line in lines)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--params", "20e9"), "give --params and --tokens"),
        (("--params", "many", "--tokens", "1e9"), "is not a number: write 20e9 or 20B"),
        ((*JOB, "--start", "soon"), "--start is 'soon', but should be a date"),
        ((*JOB, "--mfu", "40"), "35 % is 0.35"),
        ((*JOB, "--gpu", "H10O"), "Did you mean"),
        ((*JOB, "--zone", "Germny"), "GERMNY"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Train, flags: tuple[str, ...], said: str
) -> None:
    ended = carbon_train("estimate", *flags)
    assert ended.status == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
