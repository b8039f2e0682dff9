"""Checkpoints appear whole or not at all, and a disk that refuses them does not end training."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.ledger.facts import CheckpointSaved, Incomplete
from carbon_trainer.runs.checkpoints import path_of

pytestmark = pytest.mark.slow


def test_the_newest_checkpoints_are_kept_and_recorded(tmp_path: Path) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from carbon_trainer.callbacks.checkpoint import PeriodicCheckpoint
    from tests.callbacks.training import TinyModule, loader, session, trainer

    run = session(tmp_path)
    aware, periodic = CarbonAware(session=run), PeriodicCheckpoint(run, 2)
    trainer(tmp_path, aware, periodic, steps=9).fit(TinyModule(), loader())
    run.close()
    names = sorted(path.name for path in (run.run_dir / "checkpoints").iterdir())
    wanted = [path_of(Path(), step).name for step in (6, 8, 9)]
    assert names == sorted([*wanted, *(f"{name}.sha256" for name in wanted)])
    steps = [fact.body["step"] for fact in run.ledger.facts(run.run_id, CheckpointSaved)]
    assert steps == [2, 4, 6, 8, 9]
    assert "checkpoint" in set(run.ledger.intervals(run.run_id)["phase"])


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed"),
    ],
)
def test_a_full_disk_costs_the_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from carbon_trainer.callbacks.checkpoint import PeriodicCheckpoint
    from tests.callbacks.training import TinyModule, loader, session, trainer

    run = session(tmp_path)
    aware, periodic = CarbonAware(session=run), PeriodicCheckpoint(run, 3)
    fitted = trainer(tmp_path, aware, periodic, steps=8)

    def refuse(path: Path, *_: Any, **__: Any) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(fitted, "save_checkpoint", refuse, raising=True)
    (run.run_dir / "checkpoints").mkdir(parents=True)
    module = TinyModule()
    fitted.fit(module, loader())
    run.close()
    assert len(module.losses) == 8
    assert list((run.run_dir / "checkpoints").iterdir()) == []
    gaps = run.ledger.facts(run.run_id, Incomplete)
    assert [gap.body["what"] for gap in gaps] == [
        "checkpoint at step 3", "checkpoint at step 6", "checkpoint at step 8",
    ]  # fmt: skip


def test_a_checkpoint_loads_safely_and_carries_no_password(tmp_path: Path) -> None:
    import torch

    from carbon_trainer.callbacks import CarbonAware
    from carbon_trainer.callbacks.checkpoint import PeriodicCheckpoint
    from tests.callbacks.training import TinyModule, loader, session, trainer

    run = session(tmp_path, name="x")
    aware, periodic = CarbonAware(session=run), PeriodicCheckpoint(run, 4)
    trainer(tmp_path, aware, periodic, steps=4).fit(TinyModule(), loader())
    run.close()
    checkpoint = torch.load(str(run.last_checkpoint), weights_only=True)
    state = checkpoint["callbacks"]["CarbonAware"]["run"]
    assert state["run_id"] == run.run_id
    assert state["energy_mj"] > 0
