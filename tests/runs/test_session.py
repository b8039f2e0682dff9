"""A run is recorded whole, across segments, and whatever goes wrong beside it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.energy.heartbeat import FILE_NAME, read_heartbeat
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.ledger.facts import (
    BoundaryStated,
    Incomplete,
    MachineDescribed,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.runs.outcome import Outcome, ResumePoint
from carbon_trainer.runs.session import RunSession
from tests.simulation.source import ConstantSource


def _open(tmp_path: Path, resume: ResumePoint | None = None, **settings: object) -> RunSession:
    config = RunConfig(**{"runs_dir": tmp_path, **settings})  # type: ignore[arg-type]
    return RunSession.open(config, meter=EnergyMeter([ConstantSource(100)]), resume=resume)


def test_a_run_leaves_all_that_a_report_needs(tmp_path: Path) -> None:
    run = _open(tmp_path, name="mine", zone="FR")
    with run.phase("train"):
        time.sleep(0.1)
    run.progress(1, 64, loss=2.5)
    run.close()
    kinds = [fact.kind for fact in run.ledger.facts(run.run_id)]
    assert kinds[:2] == ["run_opened", "intensity_used"]
    assert kinds[-1] == "run_closed"
    assert {"machine_described", "progress"} <= set(kinds)
    assert run.ledger.energy_mj(run.run_id) == run.meter.summary().energy_mj > 0
    assert verify(run.ledger, run.run_id).ok


def test_whose_run_it_is_and_on_whose_machines_is_written_down(tmp_path: Path) -> None:
    run = _open(tmp_path, user="ada", operation="own", organisation="ACME")
    run.close()
    opened, boundary = run.ledger.facts(run.run_id, RunOpened, BoundaryStated)
    assert opened.body["user"] == "ada"
    assert boundary.body == {
        "operation": "own", "organisation": "ACME", "provider": "", "region": "", "by": "ada",
    }  # fmt: skip
    nobody = _open(tmp_path / "other", user="")
    nobody.close()
    (opened,) = nobody.ledger.facts(nobody.run_id, RunOpened, BoundaryStated)
    assert opened.body["user"] == ""


def test_closing_twice_counts_once(tmp_path: Path) -> None:
    run = _open(tmp_path)
    assert run.close(Outcome("failed", 1, "x")) == run.close()
    (closed,) = run.ledger.facts(run.run_id, RunClosed)
    assert closed.body["status"] == "failed"


def test_the_first_reason_to_stop_stands(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.request_stop(Outcome("budget", 3, "first"))
    run.request_stop(Outcome("interrupted", 130, "second"))
    run.close(Outcome("failed", 1, "third"))
    (closed,) = run.ledger.facts(run.run_id, RunClosed)
    assert (closed.body["status"], closed.body["reason"]) == ("budget", "first")


def test_a_resumed_run_counts_the_energy_of_its_earlier_segments(tmp_path: Path) -> None:
    first = _open(tmp_path)
    time.sleep(0.1)
    first.close()
    before_mj = first.ledger.energy_mj(first.run_id)
    second = _open(tmp_path, ResumePoint(first.run_id, "a.ckpt", 7))
    assert second.used_mj() >= before_mj > 0
    second.close()
    (resumed,) = second.ledger.facts(second.run_id, Resumed)
    assert resumed.body["energy_before_mj"] == before_mj
    assert verify(second.ledger, second.run_id).ok


def test_energy_that_only_the_checkpoint_knows_counts_and_is_said(tmp_path: Path) -> None:
    run = _open(tmp_path, ResumePoint("lost-run", "a.ckpt", 7, energy_mj=5_000_000))
    assert run.used_mj() >= 5_000_000
    run.close()
    (gap,) = run.ledger.facts("lost-run", Incomplete)
    assert "5000 J more" in gap.body["why"]


def test_the_heartbeat_is_never_older_than_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The recorder's own beat is minutes away.
    monkeypatch.setattr("carbon_trainer.runs.background.POLL_INTERVAL_S", 600.0)
    run = _open(tmp_path)
    for _ in range(6000):
        if run.used_mj() > 20_000:
            break
        time.sleep(0.01)
    told_mj = run.checkpoint_state()["energy_mj"]
    path = run.run_dir / FILE_NAME
    (position,) = read_heartbeat(path).positions
    assert told_mj / 2 < position.energy_mj <= told_mj
    run.close()
    run.checkpoint_state()
    assert not path.exists(), "a closed run leaves nothing to recover"


def test_a_gap_is_written_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = _open(tmp_path)
    run.record_gap("something", "it broke")
    run.record_gap("something", "it broke again")
    run.close()
    assert len(run.ledger.facts(run.run_id, Incomplete)) == 1
    assert caplog.text.count("something") == 1


def test_a_machine_with_nothing_to_meter_says_so(tmp_path: Path) -> None:
    config = RunConfig(runs_dir=tmp_path)
    run = RunSession.open(config, meter=EnergyMeter([]))
    run.close()
    (gap,) = run.ledger.facts(run.run_id, Incomplete)
    assert "no device" in gap.body["why"]


def test_sources_are_described_with_method_and_uncertainty(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run.close()
    (described,) = run.ledger.facts(run.run_id, MachineDescribed)
    (source,) = described.body["sources"]
    assert (source["method"], source["uncertainty"]) == ("measured", 0.05)


@pytest.mark.slow
def test_a_full_disk_in_mid_run_costs_no_record(tmp_path: Path) -> None:
    run = _open(tmp_path)
    run._writer.flush()
    with run.ledger._engine.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    for step in range(3000):
        run.progress(step, step)
    run.close()
    kept = run.run_dir / f"unwritten-{run.run_id}.jsonl"
    assert kept.exists()
    assert len(kept.read_text().splitlines()) >= 3000


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, LedgerError), match="file"):
        _open(tmp_path / "file" / "runs")


def test_a_ledger_elsewhere_is_used(tmp_path: Path) -> None:
    run = _open(tmp_path / "runs", ledger=str(tmp_path / "org.sqlite"))
    run.close()
    assert Ledger.open(tmp_path / "org.sqlite", create=False).run_ids() == [run.run_id]
