"""CARBON_TRAINER=1 meters any Lightning script, and never gets in its way; else nothing happens."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.callbacks.environment import from_environment, settings_of
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import Incomplete, RunClosed, RunOpened
from carbon_trainer.ledger.store import Ledger

if TYPE_CHECKING:
    import torch
    from lightning.pytorch.callbacks import Callback

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put this project's entry points where Lightning looks for them, as pip would."""
    for variable in [name for name in os.environ if name.startswith("CARBON_TRAINER")]:
        monkeypatch.delenv(variable)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    folder = tmp_path / "site" / "carbon_trainer-0.1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: carbon-trainer\nVersion: 0.1.0\n"
    )
    lines = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in its.items())
             for name, its in groups.items()]  # fmt: skip
    (folder / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("carbon_trainer.energy.sources.host.host_sources", lambda clock=None: [])
    return tmp_path


def _closed(folder: Path) -> list[dict[str, Any]]:
    ledger = Ledger.open(folder / "carbon_runs" / "ledger.sqlite", create=False)
    return [ledger.facts(run, RunClosed)[-1].body for run in ledger.run_ids()]


def test_without_the_variable_nothing_is_added_or_written(installed: Path) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    fitted = trainer(installed)
    fitted.fit(TinyModule(), loader())
    assert fitted.callbacks == []
    assert not (installed / "carbon_runs").exists()


def test_with_it_a_script_that_knows_nothing_of_us_is_recorded_and_reported(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    monkeypatch.setenv("CARBON_TRAINER_ZONE", "FR")
    monkeypatch.setenv("CARBON_TRAINER_NAME", "unasked")
    with caplog.at_level(logging.INFO):
        trainer(installed).fit(TinyModule(), loader())
    assert "carbon-trainer records this training in carbon_runs/" in caplog.text
    (closed,) = _closed(installed)
    assert (closed["status"], closed["step"]) == ("finished", 6)
    assert list(installed.glob("carbon_runs/*/report.html"))
    ledger = Ledger.open(installed / "carbon_runs" / "ledger.sqlite", create=False)
    (opened,) = ledger.facts(ledger.run_ids()[0], RunOpened)
    assert (opened.body["name"], opened.body["config"]["zone"]) == ("unasked", "FR")


def test_a_trainer_of_pytorch_lightning_is_recorded_too(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from tests.callbacks.training import loader

    other = pytest.importorskip("pytorch_lightning")
    monkeypatch.setenv("CARBON_TRAINER", "1")

    class Module(other.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return self.layer(batch[0]).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    other.Trainer(
        max_steps=4, accelerator="cpu", logger=False, enable_progress_bar=False
    ).fit(Module(), loader())  # fmt: skip
    assert [one["status"] for one in _closed(installed)] == ["finished"]


def test_a_budget_stops_it_with_a_checkpoint_that_the_script_can_go_on_from(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.environment_helpers import LosesTheMeter
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    monkeypatch.setenv("CARBON_TRAINER_ON_METER_LOSS", "stop")
    monkeypatch.setenv("CARBON_TRAINER_BUDGET_KWH", "0.001")
    fitted = trainer(installed, LosesTheMeter(at_step=3), steps=50)
    fitted.fit(TinyModule(), loader())
    assert fitted.global_step < 50
    (saved,) = installed.glob("carbon_runs/*/checkpoints/*.ckpt")
    again = trainer(installed, CarbonAware(), steps=50)
    again.fit(TinyModule(), loader(), ckpt_path=saved, weights_only=True)
    ledger = Ledger.open(installed / "carbon_runs" / "ledger.sqlite", create=False)
    (run_id,) = ledger.run_ids()
    statuses = [fact.body["status"] for fact in ledger.facts(run_id, RunClosed)]
    assert statuses == ["budget", "finished"]


@pytest.mark.parametrize("own", ["CarbonAware", "EnergyMetering"])
def test_it_steps_aside_where_the_script_has_a_callback_of_ours(
    installed: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    from carbon_trainer import callbacks
    from carbon_trainer.callbacks.base import CarbonCallback
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    callback = getattr(callbacks, own)()
    fitted = trainer(installed, callback)
    fitted.fit(TinyModule(), loader())
    assert [one for one in fitted.callbacks if isinstance(one, CarbonCallback)] == [callback]
    assert len(_closed(installed)) == 1


def test_it_steps_aside_where_the_model_brings_one(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.callbacks import EnergyMetering
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")

    class Bringing(TinyModule):
        def configure_callbacks(self) -> list[Callback]:
            return [EnergyMetering()]

    trainer(installed).fit(Bringing(), loader())
    assert len(_closed(installed)) == 1
    assert not list(installed.glob("carbon_runs/*/report.html"))


def test_a_list_of_callbacks_serves_two_trainers_and_each_fit_is_a_run(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    from tests.callbacks.training import TinyModule, loader

    monkeypatch.setenv("CARBON_TRAINER", "1")
    shared: list[Callback] = []
    options = {"max_steps": 2, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    for _ in range(2):
        fitted = lightning.Trainer(callbacks=shared, **options)
        fitted.fit(TinyModule(), loader())
        assert isinstance(fitted.callbacks[-1], ModelCheckpoint)
    fitted.fit_loop.epoch_loop.max_steps = 4
    fitted.fit(TinyModule(), loader())
    assert [one["status"] for one in _closed(installed)] == ["finished"] * 3


def test_validating_and_testing_open_no_run(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    trainer(installed).validate(TinyModule(), loader(), verbose=False)
    assert not (installed / "carbon_runs").exists()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CARBON_TRAINER_BUDGET_KWH", "lots", "the environment: budget_kwh is 'lots'"),
        ("CARBON_TRAINER_BUDGT_KWH", "1", "Did you mean CARBON_TRAINER_BUDGET_KWH"),
        ("CARBON_TRAINER", "please", "CARBON_TRAINER is 'please', but should be 1 or 0"),
        ("CARBON_TRAINER_ZONE", "UK", "Did you mean GB"),
        ("CARBON_TRAINER_RUNS_DIR", "/proc/nowhere", "/proc/nowhere"),
        ("CARBON_TRAINER_BUDGET_COST", "3", "price_per_kwh"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_and_training_goes_on(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    variable: str, value: str, sentence: str,
) -> None:  # fmt: skip
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    monkeypatch.setenv(variable, value)
    module = TinyModule()
    with caplog.at_level(logging.WARNING, "carbon_trainer"):
        trainer(installed).fit(module, loader())
    assert len(module.losses) == 6
    (said,) = [one.getMessage() for one in caplog.records if one.name.startswith("carbon_trainer")]
    assert sentence in said
    assert "\n" not in said


def test_a_trainer_whose_budget_could_not_be_kept_trains_without_and_says_so(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")
    monkeypatch.setenv("CARBON_TRAINER_BUDGET_KWH", "1")
    module = TinyModule()
    trainer(installed, min_steps=3).fit(module, loader())
    assert len(module.losses) == 6
    assert "min_steps or min_epochs" in caplog.text


def test_what_is_found_wrong_in_the_midst_of_training_is_recorded_and_training_goes_on(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.setenv("CARBON_TRAINER", "1")

    def refuse(*_: Any) -> None:
        raise InputError("a deadline needs a trainer with an end")

    monkeypatch.setattr("carbon_trainer.callbacks.schedule.CarbonSchedule.propose", refuse)
    module = TinyModule()
    trainer(installed).fit(module, loader())
    assert len(module.losses) == 6
    assert caplog.text.count("a deadline needs a trainer with an end") == 1
    ledger = Ledger.open(installed / "carbon_runs" / "ledger.sqlite", create=False)
    (gap,) = [
        one.body for one in ledger.facts(ledger.run_ids()[0], Incomplete)
        if "deadline" in one.body["why"]
    ]  # fmt: skip
    assert gap["what"] == "carbon-trainer's batch_end"


@pytest.mark.parametrize("value", ["", "0", "false", "no", "off"])
def test_it_can_be_turned_off_by_a_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CARBON_TRAINER", value)
    assert from_environment() == []


def test_every_setting_of_the_callback_has_a_variable_and_its_type() -> None:
    given = settings_of(
        {
            "CARBON_TRAINER": "true",
            "CARBON_TRAINER_BUDGET_KWH": "1.5",
            "CARBON_TRAINER_HOST_METERING": "no",
            "CARBON_TRAINER_RUNS_DIR": "runs",
            "CARBON_TRAINER_LOG_EVERY": "",
            "CARBON_TRAINER_SUPERVISED": "20261126-120000-abcdef",
            "HOME": "/",
        }
    )
    assert given == {"budget_kwh": 1.5, "host_metering": False, "runs_dir": Path("runs")}
    with pytest.raises(InputError, match="There are CARBON_TRAINER_BUDGET_COST"):
        settings_of({"CARBON_TRAINER": "1", "CARBON_TRAINER_QQQ": "1"})


def test_the_answer_no_imports_neither_lightning_nor_torch() -> None:
    script = (
        "import sys; from carbon_trainer.callbacks.environment import from_environment; "
        "assert from_environment() == []; "
        "heavy = {'torch', 'lightning', 'pandas', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CARBON_TRAINER")}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environ, cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert ended.stdout.strip() == "[]"
