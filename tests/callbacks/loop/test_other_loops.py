"""What docs/other-loops.md shows is run, so that it stays true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.callbacks.environment import settings_of
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.ledger.facts import CheckpointSaved, Resumed, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from tests.simulation.source import ConstantSource

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "other-loops.md").read_text()
PLAIN, GOING_ON, FABRIC, ACCELERATE, OTHER = re.findall(
    r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.fixture
def yours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's examples take as the reader's own."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "carbon_trainer.runs.session.EnergyMeter",
        lambda clock=None, **_: EnergyMeter([ConstantSource()], clock=clock),
    )
    model = torch.nn.Linear(4, 1)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
        "loader": DataLoader(TensorDataset(torch.ones(12, 4)), batch_size=2),
        "loss_of": lambda model, batch: model(batch[0]).square().mean(),
        "validate": lambda model: 0.5,
    }


def _closed_at(ledger: Ledger) -> list[tuple[str, int]]:
    (run_id,) = ledger.run_ids()
    assert verify(ledger, run_id).ok
    return [(f.body["status"], f.body["step"]) for f in ledger.facts(run_id, RunClosed)]


def _ledger() -> Ledger:
    return Ledger.open(Path("carbon_runs") / "ledger.sqlite", create=False)


@pytest.mark.slow
def test_the_plain_loop_trains_saves_and_goes_on(
    yours: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    exec(PLAIN, yours)
    status, report = capsys.readouterr().out.split()
    assert status == "finished"
    assert Path(report).exists()
    exec(GOING_ON, yours)
    assert _closed_at(_ledger()) == [("finished", 6), ("finished", 12)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "load"),
    [
        (FABRIC, '# fabric.load("last.ckpt"'),
        (ACCELERATE, '# accelerator.load_state("last")'),
    ],
)
def test_the_launchers_loops_train_save_and_go_on(
    yours: dict[str, Any], example: str, load: str
) -> None:
    assert load in example
    again = {**yours}
    exec(example, yours)
    (saved,) = _ledger().facts(_ledger().run_ids()[0], CheckpointSaved)
    assert saved.body["bytes"] > 0
    uncommented = example.replace(load, load.removeprefix("# "))
    exec(uncommented.replace(" resumes a run", ""), again)
    assert _closed_at(_ledger()) == [("finished", 6), ("finished", 12)]
    (resumed,) = _ledger().facts(_ledger().run_ids()[0], Resumed)
    assert resumed.body["step"] == 6


@pytest.mark.slow
def test_the_other_lightning_takes_the_callback_shown(yours: dict[str, Any]) -> None:
    pytest.importorskip("pytorch_lightning")
    exec(OTHER, yours)
    (callback, *_) = yours["trainer"].callbacks
    assert callback.settings == {"budget_kwh": 500, "zone": "GB"}


def test_the_variables_shown_are_settings() -> None:
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    variables = dict(re.findall(r"(CARBON_TRAINER\w*)=(\S+)", block))
    assert settings_of(variables) == {"budget_kwh": 2.0, "zone": "GB"}
