"""A budget is never exceeded, whatever comes before the next check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import CheckpointSaved, Decision, RunClosed
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.runs.outcome import ResumePoint
from carbon_trainer.runs.session import RunSession
from tests.simulation.source import ConstantSource

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

pytestmark = pytest.mark.slow

J_PER_KWH = 3.6e6


def _fit(run: RunSession, tmp_path: Path, *more: Callback, **options: Any) -> Any:
    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.budget_helpers import Slow
    from tests.callbacks.training import loader, trainer, validation_loader

    fitted = trainer(tmp_path, CarbonAware(session=run), *more, steps=2000, **options)
    fitted.fit(Slow(), loader(), validation_loader())
    return fitted


@pytest.mark.parametrize("power_w", [50.0, 2000.0])
def test_a_run_stops_before_its_budget_with_a_checkpoint(tmp_path: Path, power_w: float) -> None:
    from tests.callbacks.training import session

    budget_kwh = power_w * 3 / J_PER_KWH
    run = session(tmp_path, source=ConstantSource(power_w), budget_kwh=budget_kwh)
    fitted = _fit(run, tmp_path)
    run.close()
    used_kwh = run.ledger.energy_mj(run.run_id) / 1000 / J_PER_KWH
    assert 0.4 * budget_kwh < used_kwh <= budget_kwh
    assert run.outcome is not None
    assert (run.outcome.status, run.outcome.exit_status) == ("budget", 3)
    (saved,) = run.ledger.facts(run.run_id, CheckpointSaved)
    assert Path(saved.body["path"]).exists()
    assert saved.body["step"] == fitted.global_step > 0
    (decision,) = run.ledger.facts(run.run_id, Decision)
    assert "is reached" in decision.body["why"]


@pytest.mark.parametrize(
    ("settings", "kwh"),
    [
        ({"budget_kgco2e": 300 / J_PER_KWH * 0.38095, "zone": "DE"}, 300 / J_PER_KWH),
        ({"budget_cost": 300 / J_PER_KWH * 0.5, "price_per_kwh": 0.5}, 300 / J_PER_KWH),
        ({"budget_kwh": 300 / J_PER_KWH, "pue": 1.5}, 200 / J_PER_KWH),
    ],
)
def test_emissions_cost_and_overhead_bound_energy_too(
    tmp_path: Path, settings: dict[str, Any], kwh: float
) -> None:
    from tests.callbacks.training import session

    run = session(tmp_path, source=ConstantSource(100), **settings)
    _fit(run, tmp_path)
    run.close()
    used_kwh = run.ledger.energy_mj(run.run_id) / 1000 / J_PER_KWH
    assert 0.3 * kwh < used_kwh <= kwh


def test_no_validation_is_run_once_the_budget_is_reached(tmp_path: Path) -> None:
    from tests.callbacks.budget_helpers import CountValidations
    from tests.callbacks.training import session

    counted = CountValidations()
    run = session(tmp_path, source=ConstantSource(100), budget_kwh=200 / J_PER_KWH)
    fitted = _fit(run, tmp_path, counted, check_val_every_n_epoch=10_000)
    run.close()
    assert counted.batches == 0
    assert fitted.limit_val_batches == 1.0


def test_a_budget_that_is_used_up_already_trains_no_step(tmp_path: Path) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.budget_helpers import Slow
    from tests.callbacks.training import loader, session, trainer

    run = session(tmp_path, source=ConstantSource(1000), budget_kwh=1e-9)
    module = Slow()
    trainer(tmp_path, CarbonAware(session=run), steps=50).fit(module, loader())
    run.close()
    assert module.losses == []
    assert run.outcome is not None
    assert run.outcome.exit_status == 3


def test_a_resumed_run_knows_what_a_step_and_its_end_need_before_it_has_metered_any(
    tmp_path: Path,
) -> None:
    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.budget_helpers import Slow
    from tests.callbacks.training import loader, session, trainer

    budget_kwh = 100 * 3 / J_PER_KWH
    first = session(tmp_path, source=ConstantSource(100), budget_kwh=budget_kwh)
    _fit(first, tmp_path)
    first.close()
    (saved,) = first.ledger.facts(first.run_id, CheckpointSaved)
    used_mj = first.ledger.energy_mj(first.run_id)
    # Something is left, but less than a run of this kind needs at its end.
    point = ResumePoint(first.run_id, saved.body["path"], saved.body["step"], used_mj)
    again = session(tmp_path, source=ConstantSource(100), resume=point, budget_kwh=budget_kwh)
    module = Slow()
    fitted = trainer(tmp_path, CarbonAware(session=again), steps=2000)
    fitted.fit(module, loader(), ckpt_path=saved.body["path"], weights_only=True)
    again.close()
    assert used_mj < budget_kwh * J_PER_KWH * 1000
    assert module.losses == []
    assert again.outcome is not None
    assert again.outcome.status == "budget"


@pytest.mark.parametrize("options", [{"min_steps": 5}, {"min_epochs": 2, "max_epochs": 3}])
def test_a_trainer_that_must_go_on_is_refused_and_its_run_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    from carbon_trainer.callbacks import EnergyBudget
    from tests.callbacks.training import TinyModule, loader, trainer

    monkeypatch.chdir(tmp_path)
    budget = EnergyBudget(budget_kwh=1)
    with pytest.raises(InputError, match="min_steps or min_epochs"):
        trainer(tmp_path, budget, **options).fit(TinyModule(), loader())
    ledger = Ledger.open(tmp_path / "carbon_runs" / "ledger.sqlite", create=False)
    (closed,) = ledger.facts(ledger.run_ids()[0], RunClosed)
    assert closed.body["status"] == "failed"
    assert "min_steps or min_epochs" in closed.body["reason"]


def test_when_energy_can_no_longer_be_known_a_run_stops_if_it_was_told_to(tmp_path: Path) -> None:
    from tests.callbacks.budget_helpers import LoseAt
    from tests.callbacks.training import session

    source = ConstantSource(100)
    run = session(tmp_path, source=source, budget_kwh=1, on_meter_loss="stop")
    fitted = _fit(run, tmp_path, LoseAt(source, 5))
    run.close()
    assert run.outcome is not None
    assert run.outcome.exit_status == 3
    assert "can no longer be known" in run.outcome.reason
    assert 5 < fitted.global_step < 2000


def test_or_goes_on_with_an_estimate_and_still_stops_in_time(tmp_path: Path) -> None:
    from tests.callbacks.budget_helpers import LoseAt
    from tests.callbacks.training import session

    source = ConstantSource(100)
    run = session(tmp_path, source=source, budget_kwh=400 / J_PER_KWH)
    _fit(run, tmp_path, LoseAt(source, 20))
    run.close()
    assert run.outcome is not None
    assert "budget of" in run.outcome.reason
    kinds = {fact.kind for fact in run.ledger.facts(run.run_id)}
    assert "incomplete" in kinds
    assert "unknown" in set(run.ledger.intervals(run.run_id)["method"])


@pytest.mark.parametrize(
    "options",
    [
        {"val_check_interval": 3},
        {"val_check_interval": 5, "check_val_every_n_epoch": None},
        {"val_check_interval": 4, "accumulate_grad_batches": 2, "check_val_every_n_epoch": None},
        {},
    ],
)
def test_a_validation_before_the_next_check_is_foreseen(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    from tests.callbacks.budget_helpers import Foresee
    from tests.callbacks.training import TinyModule, loader, trainer, validation_loader

    watch = Foresee()
    trainer(tmp_path, watch, steps=30, **options).fit(TinyModule(), loader(), validation_loader())
    assert watch.foreseen
    assert watch.missed == 0
