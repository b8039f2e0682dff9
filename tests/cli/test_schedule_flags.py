"""What a user may get wrong about deadlines, power and Slurm: one sentence, status 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import CommandResult

CarbonTrain = Callable[..., CommandResult]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--deadline", "soon"], "invalid duration 'soon'"),
        (["--deadline", "2026-11-30T12:00"], "has no time zone"),
        (["--max-wait", "long"], "invalid duration 'long'"),
        (["--objective", "cost"], "objective needs price_per_kwh"),
        (["--objective", "blend", "--price-per-kwh", "0.3"], "blend needs carbon_price"),
        (["--provider", "gb-neso"], "provider needs zone"),
        (["--keep-checkpoints", "1"], "greater than or equal to 2"),
        (["--resume", "last", "--run-id", "x"], "mutually exclusive"),
        (["--throttle", "hard"], "'hard' is not one of"),
        (["--devices", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_input_is_one_sentence(
    carbon_train: CarbonTrain, flags: list[str], message: str
) -> None:
    result = carbon_train("fit", *flags)
    assert result.status == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert not Path("carbon_runs").exists()


def test_a_trace_that_does_not_cover_the_present(carbon_train: CarbonTrain, tmp_path: Path) -> None:
    trace = tmp_path / "old.csv"
    trace.write_text("time_utc,gco2e_per_kwh\n2020-01-01T00:00Z,100\n2020-01-01T01:00Z,100\n")
    result = carbon_train("fit", "--trace", str(trace), "--deadline", "2h")
    assert result.status == 2
    assert "does not cover now" in result.err
    assert not Path("carbon_runs").exists()


def test_a_deadline_in_the_past(carbon_train: CarbonTrain) -> None:
    result = carbon_train("fit", "--deadline", "2020-01-01T00:00Z")
    assert result.status == 2
    assert "is at or before the start" in result.err
    assert not Path("carbon_runs").exists()


def test_an_unknown_provider(carbon_train: CarbonTrain) -> None:
    result = carbon_train("fit", "--provider", "gb-nesso", "--zone", "GB")
    assert result.status == 2
    assert "Did you mean gb-neso?" in result.err


def test_an_option_of_sbatch_without_dashes(carbon_train: CarbonTrain) -> None:
    result = carbon_train("submit", "--sbatch", "partition=gpu", "--dry-run")
    assert result.status == 2
    assert "invalid option 'partition=gpu'" in result.err


def test_submit_without_slurm(
    carbon_train: CarbonTrain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = carbon_train("submit")
    assert result.status == 2
    assert "there is no sbatch here" in result.err


def test_resume_now_needs_a_run(carbon_train: CarbonTrain) -> None:
    result = carbon_train("runs", "resume-now", "nobody")
    assert result.status == 2
