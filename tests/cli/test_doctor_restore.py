"""``carbon-train doctor --restore``: the last resort for limits that a run has left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.power.journal import Entry, journal_folder
from tests.cli.commands import Ended
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def leave(gpu: SimulatedGpu) -> Path:
    """Write the journal of a run that is gone, and turn the GPU as it had."""
    entry = {"kind": "power-limit", "device": gpu.uuid, "original": 700_000, "ours": [350_000]}
    path = journal_folder() / "999999999.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 999_999_999, "started": 1.0, "entries": [entry]}))
    assert Entry(**{**entry, "ours": (350_000,)}).original == 700_000  # type: ignore[arg-type]
    gpu.limit_mw = 350_000
    return path


def test_a_limit_that_was_left_is_put_back(carbon_train: Callable[..., Ended]) -> None:
    gpu = SimulatedGpu()
    path = leave(gpu)
    with SimulatedNvml(gpu).install():
        ended = carbon_train("doctor", "--restore")
    assert ended.status == 0
    assert "is 700 W again" in ended.out
    assert gpu.limit_mw == 700_000
    assert not path.exists()


def test_a_refusal_is_told_and_the_journal_kept(carbon_train: Callable[..., Ended]) -> None:
    gpu = SimulatedGpu(permits=())
    path = leave(gpu)
    with SimulatedNvml(gpu).install():
        ended = carbon_train("doctor", "--restore")
    assert ended.status == 2
    assert "cannot be put back: NVML: Insufficient Permissions" in ended.err
    assert path.exists()


def test_with_nothing_left_it_says_so(carbon_train: Callable[..., Ended]) -> None:
    assert "No run that is gone" in carbon_train("doctor", "--restore").out
