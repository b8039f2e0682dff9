"""``carbon-train doctor --restore``: the last resort for limits that a dead run has left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.power.journal import Entry, journal_folder
from tests.cli.commands import CommandResult
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def leave(gpu: SimulatedGpu) -> Path:
    """Write the journal of a dead run, and set the GPU's limit as it did."""
    entry = {"kind": "power-limit", "device": gpu.uuid, "original": 700_000, "ours": [350_000]}
    path = journal_folder() / "999999999.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 999_999_999, "started": 1.0, "entries": [entry]}))
    assert Entry(**{**entry, "ours": (350_000,)}).original == 700_000  # type: ignore[arg-type]
    gpu.limit_mw = 350_000
    return path


def test_a_limit_left_behind_is_restored(carbon_train: Callable[..., CommandResult]) -> None:
    gpu = SimulatedGpu()
    path = leave(gpu)
    with SimulatedNvml(gpu).install():
        result = carbon_train("doctor", "--restore")
    assert result.status == 0
    assert "is 700 W again" in result.out
    assert gpu.limit_mw == 700_000
    assert not path.exists()


def test_a_refusal_is_reported_and_the_journal_kept(
    carbon_train: Callable[..., CommandResult],
) -> None:
    gpu = SimulatedGpu(permits=())
    path = leave(gpu)
    with SimulatedNvml(gpu).install():
        result = carbon_train("doctor", "--restore")
    assert result.status == 2
    assert "cannot be put back: NVML: Insufficient Permissions" in result.err
    assert path.exists()


def test_nothing_to_restore(carbon_train: Callable[..., CommandResult]) -> None:
    assert "Nothing to restore" in carbon_train("doctor", "--restore").out
