"""`runs`, `report` and `doctor` read what `fit` left."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.cli.actions import doctor
from tests.cli.commands import CommandResult, Shell
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

pytestmark = pytest.mark.slow


@pytest.fixture
def run_id(shell: Shell, carbon_train: Callable[..., CommandResult]) -> str:
    """A finished run."""
    assert carbon_train("fit", *shell.tiny, "--name", "my run").status == 0
    return shell.run_id()


def test_runs_are_listed_shown_and_verified(
    carbon_train: Callable[..., CommandResult], run_id: str
) -> None:
    listed = carbon_train("runs", "list").out
    assert run_id in listed
    assert "finished" in listed
    assert "my run" in listed
    assert "my run" in carbon_train("runs", "show", "last").out
    verified = carbon_train("runs", "verify", run_id[:12])
    assert verified.status == 0
    assert "hash chain valid; " in verified.out


def test_a_changed_record_is_named_and_ends_with_status_1(
    carbon_train: Callable[..., CommandResult], run_id: str
) -> None:
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute("UPDATE facts SET body=replace(body,'my run','your run') WHERE seq=1")
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "record 1 (run_opened) is not what was written" in result.out


def test_a_truncated_record_is_found_by_its_report(
    carbon_train: Callable[..., CommandResult], run_id: str
) -> None:
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute("DELETE FROM facts WHERE seq=(SELECT max(seq) FROM facts)")
    result = carbon_train("runs", "verify")
    assert result.status == 1
    assert "report.json names" in result.out


def test_a_report_is_rebuilt_to_the_same_bytes(
    carbon_train: Callable[..., CommandResult], run_id: str, tmp_path: Path
) -> None:
    result = carbon_train("report", "last", "--out", str(tmp_path / "again"))
    assert result.status == 0
    for name in ("report.html", "report.md", "report.json"):
        first = Path("carbon_runs", run_id, name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("report", "last", "--format", "htlm"), "html"),
        (("report", "nope"), "there is no run 'nope'"),
        (("runs", "show", "nope"), "there is no run 'nope'"),
        (("runs", "verify", "--ledger", "none.sqlite"), "there is no ledger at none.sqlite"),
        (("runs", "recover", "corpus.txt"), "not a file of unwritten records"),
        (("runs", "lst"), "Did you mean list"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    carbon_train: Callable[..., CommandResult], run_id: str, args: tuple[str, ...], message: str
) -> None:
    result = carbon_train(*args)
    assert result.status == 2
    assert message in result.err


def test_a_ledger_from_a_newer_version_is_refused(
    carbon_train: Callable[..., CommandResult], run_id: str, shell: Shell
) -> None:
    with sqlite3.connect("carbon_runs/ledger.sqlite") as connection:
        connection.execute("UPDATE ledger_meta SET value='99'")
    for args in (("runs", "list"), ("fit", *shell.tiny)):
        result = carbon_train(*args)
        assert result.status == 2
        assert "newer carbon-trainer" in result.err


def test_doctor_shows_what_is_measured_and_advice(
    carbon_train: Callable[..., CommandResult], shell: Shell
) -> None:
    gpus = SimulatedGpu(), SimulatedGpu(uuid="GPU-2", has_counter=False)
    with SimulatedNvml(*gpus).install():
        result = carbon_train("doctor")
    assert result.status == 0
    words = " ".join(result.out.replace("│", " ").split())
    for message in ("energy counter", "power only", "memory", "estimated", "none yet at"):
        assert message in words
    rows = {line.split("  ")[0]: line.split() for line in result.out.splitlines()}
    counter = rows["GPU 0"]
    assert counter[2] == "measured"
    assert float(counter[3]) == pytest.approx(20, rel=0.2)
    assert counter[4] == counter[6] == counter[9] == "ms"
    assert ["1,000", "ms"] == rows["CPU"][2:4] == rows["memory"][2:4]


def test_doctor_reports_a_gpu_that_does_not_answer_and_continues(
    carbon_train: Callable[..., CommandResult],
) -> None:
    gpus = SimulatedGpu(lost=True), SimulatedGpu(uuid="GPU-2")
    with SimulatedNvml(*gpus).install():
        result = carbon_train("doctor")
    assert result.status == 1
    rows = {line.split("  ")[0]: line for line in result.out.splitlines()}
    assert "unknown" in rows["GPU 0"]
    assert "GPU is lost" in rows["GPU 0"]
    assert "NVML energy counter" in rows["GPU 1"]


def test_doctor_reports_a_driver_that_hangs(
    carbon_train: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr("carbon_trainer.cli.actions.doctor.LISTING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(doctor, "LISTING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(doctor, "describe_nvml", lambda: released.wait(60))
    result = carbon_train("doctor")
    released.set()
    assert result.status == 1
    assert "NVML did not answer" in result.out
    assert "CodeCarbon" in result.out
    assert not Path("carbon_runs").exists()


def test_doctor_without_gpus_and_with_a_broken_ledger(
    carbon_train: Callable[..., CommandResult],
) -> None:
    Path("l.sqlite").write_text("no database " * 100)
    result = carbon_train("doctor", "--ledger", "l.sqlite")
    assert result.status == 1
    assert "problem" in result.out
    assert "NVML Shared" in result.out
