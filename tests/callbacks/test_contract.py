"""What holds for every callback that is exported, alone in a plain trainer."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import carbon_trainer.callbacks as exported
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import CheckpointSaved, Incomplete, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

NAMES = exported.__all__


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callbacks without settings keep their runs in ./carbon_runs; the host is not metered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("carbon_trainer.energy.sources.host.host_sources", lambda clock=None: [])


def _runs(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "carbon_runs" / "ledger.sqlite", create=False)


def _statuses(ledger: Ledger) -> list[str]:
    return [ledger.facts(run)[-1].body["status"] for run in ledger.run_ids()]


@pytest.mark.parametrize("name", NAMES)
def test_each_fits_twice_as_two_runs_that_verify(name: str, tmp_path: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer, validation_loader

    callback = getattr(exported, name)()
    for _ in range(2):
        trainer(tmp_path, callback).fit(TinyModule(), loader(), validation_loader())
    ledger = _runs(tmp_path)
    assert _statuses(ledger) == ["finished", "finished"]
    assert all(verify(ledger, run).ok for run in ledger.run_ids())


@pytest.mark.parametrize("name", NAMES)
def test_each_closes_once_however_often_it_is_told(name: str, tmp_path: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    callback = getattr(exported, name)()
    fitted = trainer(tmp_path, callback)
    module = TinyModule()
    fitted.fit(module, loader())
    callback.teardown(fitted, module, "fit")
    callback.on_exception(fitted, module, RuntimeError("late"))
    assert _statuses(_runs(tmp_path)) == ["finished"]


@pytest.mark.parametrize("name", NAMES)
def test_each_keeps_the_record_when_the_users_model_fails(name: str, tmp_path: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    class Failing(TinyModule):
        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            if index == 3:
                raise ValueError("the user's own mistake")
            return super().training_step(batch, index)

    with pytest.raises(ValueError, match="the user's own mistake"):
        trainer(tmp_path, getattr(exported, name)()).fit(Failing(), loader())
    ledger = _runs(tmp_path)
    closed = ledger.facts(ledger.run_ids()[0])[-1].body
    assert (closed["status"], closed["step"]) == ("failed", 3)
    assert "the user's own mistake" in closed["reason"]


@pytest.mark.parametrize("name", NAMES)
def test_each_state_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    from tests.callbacks.contract_helpers import SaveAt
    from tests.callbacks.training import TinyModule, loader, trainer

    path = tmp_path / "a.ckpt"
    first = trainer(tmp_path, getattr(exported, name)(), steps=4, enable_checkpointing=False)
    saver = SaveAt(path, 4)
    first.callbacks.append(saver)
    first.fit(TinyModule(), loader())
    again = trainer(tmp_path, getattr(exported, name)(), steps=6)
    again.fit(TinyModule(), loader(), ckpt_path=path, weights_only=True)
    ledger = _runs(tmp_path)
    assert len(ledger.run_ids()) == 1
    kinds = [fact.kind for fact in ledger.facts(ledger.run_ids()[0])]
    assert kinds.count("resumed") == 1
    assert verify(ledger, ledger.run_ids()[0]).ok


@pytest.mark.parametrize("name", NAMES)
def test_making_one_opens_and_starts_nothing(name: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    getattr(exported, name)()
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_bug_of_ours_is_logged_once_and_recorded_and_training_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("our own bug")

    callback = getattr(exported, name)()
    for part in callback.parts:
        monkeypatch.setattr(part, "on_step_end", broken)
    module = TinyModule()
    with caplog.at_level(logging.WARNING, "carbon_trainer"):
        trainer(tmp_path, callback).fit(module, loader())
    assert len(module.losses) == 6
    assert caplog.text.count("our own bug") == 1
    ledger = _runs(tmp_path)
    gaps = [fact.body["why"] for fact in ledger.facts(ledger.run_ids()[0], Incomplete)]
    assert sum("our own bug" in why for why in gaps) == 1
    assert _statuses(ledger) == ["finished"]


@pytest.mark.parametrize("name", NAMES)
def test_each_goes_on_from_a_checkpoint_of_the_other_lightning(name: str, tmp_path: Path) -> None:
    import torch

    from tests.callbacks.training import loader

    other = pytest.importorskip("pytorch_lightning")

    class Module(other.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(steps: int, **options: Any) -> Any:
        fitted = other.Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False,
            callbacks=[
                getattr(exported, name)(),
                other.callbacks.ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=4),
            ],
        )  # fmt: skip
        fitted.fit(Module(), loader(), **options)

    fit(4)
    fit(6, ckpt_path=tmp_path / "step=4.ckpt", weights_only=True)
    ledger = _runs(tmp_path)
    (run_id,) = ledger.run_ids()
    closed = [(fact.body["status"], fact.body["step"]) for fact in ledger.facts(run_id, RunClosed)]
    assert closed == [("finished", 4), ("finished", 6)]
    assert verify(ledger, run_id).ok


def test_a_budget_stops_the_other_lightning_with_a_checkpoint(tmp_path: Path) -> None:
    from tests.callbacks.training import session

    other = pytest.importorskip("pytorch_lightning")
    demos = pytest.importorskip("pytorch_lightning.demos.boring_classes")

    class Module(demos.BoringModel):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if self.trainer.global_step == 3:
                run.meter_loss = "the device is gone"

    run = session(tmp_path, budget_kwh=1, on_meter_loss="stop")
    fitted = other.Trainer(
        max_steps=50, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, callbacks=[exported.CarbonAware(session=run)],
    )  # fmt: skip
    fitted.fit(Module())
    run.close()
    assert fitted.global_step == 4
    (saved,) = run.ledger.facts(run.run_id, CheckpointSaved)
    assert saved.body["step"] == 4
    assert Path(saved.body["path"]).exists()
    assert run.outcome is not None
    assert run.outcome.status == "budget"


@pytest.mark.parametrize("name", sorted({*NAMES} - {"CarbonAware"}))
def test_each_refuses_a_setting_that_does_not_exist(name: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        getattr(exported, name)(budgt_kwh=3)


def test_the_one_that_takes_all_settings_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"CarbonAware has no setting 'budgt_kwh'\. Did you"):
        exported.CarbonAware(budgt_kwh=3)


def test_a_setting_that_does_not_fit_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="CarbonAware: budget_kwh is -1"):
        exported.CarbonAware(budget_kwh=-1)


def test_an_unknown_zone_ends_before_training_starts(tmp_path: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    module = TinyModule()
    with pytest.raises(InputError, match="Did you mean GB"):
        trainer(tmp_path, exported.EmissionsTracking(zone="UK")).fit(module, loader())
    assert module.losses == []


PARTS_OF_THE_COMMAND = {"CarbonCallback", "StopOnSignal", "StopWhenMeasured", "AutoCarbonAware"}
"""What nobody gives to a trainer of his own; every other callback has to be exported."""


def test_no_callback_is_forgotten() -> None:
    from carbon_trainer.callbacks.base import CarbonCallback

    for module in pkgutil.iter_modules(exported.__path__):
        importlib.import_module(f"carbon_trainer.callbacks.{module.name}")
    found = {CarbonCallback}
    while more := {one for known in found for one in known.__subclasses__()} - found:
        found |= more
    ours = {one.__name__ for one in found if one.__module__.startswith("carbon_trainer.")}
    assert ours - PARTS_OF_THE_COMMAND == set(NAMES)


def test_everything_exported_exists_and_is_documented() -> None:
    for name in NAMES:
        assert getattr(exported, name).__doc__, name
    with pytest.raises(AttributeError):
        exported.Nothing  # noqa: B018
    assert set(dir(exported)) == set(NAMES)
    assert importlib.import_module("carbon_trainer.callbacks") is exported
