"""CarbonAware: metering, budget, schedule, power, exact resume and report in one callback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.budget import EnergyBudget
from carbon_trainer.callbacks.communication import CommunicationShare
from carbon_trainer.callbacks.emissions import EmissionsTracking
from carbon_trainer.callbacks.metering import EnergyMetering
from carbon_trainer.callbacks.report import SustainabilityReport
from carbon_trainer.callbacks.resume import ExactResume
from carbon_trainer.callbacks.schedule import CarbonSchedule
from carbon_trainer.callbacks.throttle import PowerThrottle

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.power.throttle import Mechanism
    from carbon_trainer.runs.session import RunSession


class CarbonAware(CarbonCallback):
    """All of carbon-trainer for a Lightning trainer of your own.

    Args:
        budget_kwh: most energy, all segments of the run together, times PUE.
        budget_kgco2e: most emissions.
        budget_cost: most money; needs ``price_per_kwh``.
        price_per_kwh: price of electricity.
        currency: its currency.
        zone: ISO country code or US state; None takes the world average, as assumed.
        pue: power usage effectiveness of the building.
        on_meter_loss: ``stop`` or ``estimate`` when energy can no longer be known.
        deadline: when the run must be done, ``3d`` or an instant; with it the run is shifted and
            throttled.
        objective: what the schedule makes least: ``carbon``, ``cost`` or ``blend``.
        carbon_price: price of a tonne of CO2e, for ``blend``.
        provider: whom to ask for the zone's forecast; its usual course by default.
        trace: a CSV of the grid's intensity, instead.
        max_wait: longest wait in all, such as ``6h``.
        release: whether the run may exit with status 75 and be started again: ``auto``, ``yes``,
            ``no``.
        throttle: how power is turned down: ``auto``, ``power-limit``, ``clocks``, ``duty-cycle``
            or ``off``; ``auto`` with a deadline, else ``off`` by default.
        name: the run's name, for people.
        project: the project that it belongs to.
        runs_dir: folder of runs and their reports.
        ledger: a file's path or a database URL.
        host_metering: meter CPU and memory too, through CodeCarbon.
        log_every: optimizer steps between recorded figures.
        communication_every: optimizer steps between those that are watched for communication
            where there are several ranks; 0 for never.
        session: a run that somebody else opened; None to open one for each fit.
        remeasure: measure power settings even where a run before has.

    Raises:
        InputError: if a setting does not fit.
    """

    def __init__(
        self,
        *,
        budget_kwh: float | None = None,
        budget_kgco2e: float | None = None,
        budget_cost: float | None = None,
        price_per_kwh: float | None = None,
        currency: str | None = None,
        zone: str | None = None,
        pue: float | None = None,
        on_meter_loss: str | None = None,
        deadline: str | None = None,
        objective: str | None = None,
        carbon_price: float | None = None,
        provider: str | None = None,
        trace: str | Path | None = None,
        max_wait: str | None = None,
        release: str | None = None,
        throttle: Mechanism | None = None,
        name: str | None = None,
        project: str | None = None,
        runs_dir: str | Path | None = None,
        ledger: str | None = None,
        host_metering: bool | None = None,
        log_every: int | None = None,
        communication_every: int | None = None,
        session: RunSession | None = None,
        remeasure: bool = False,
    ) -> None:
        super().__init__(session=session)
        self.budget = EnergyBudget(
            budget_kwh=budget_kwh,
            budget_kgco2e=budget_kgco2e,
            budget_cost=budget_cost,
            price_per_kwh=price_per_kwh,
            on_meter_loss=on_meter_loss,
        )
        self._parts = [
            EnergyMetering(
                name=name,
                project=project,
                runs_dir=runs_dir,
                ledger=ledger,
                host_metering=host_metering,
                log_every=log_every,
            ),
            EmissionsTracking(zone=zone, pue=pue, price_per_kwh=price_per_kwh, currency=currency),
            CommunicationShare(communication_every=communication_every),
            self.budget,
            PowerThrottle(mechanism=throttle or ("auto" if deadline is not None else "off")),
            CarbonSchedule(
                deadline,
                objective=objective,
                carbon_price=carbon_price,
                provider=provider,
                zone=zone if provider is not None else None,
                trace=trace,
                price_per_kwh=price_per_kwh,
                max_wait=max_wait,
                release=release,
                remeasure=remeasure,
            ),
            SustainabilityReport(),
        ]
        self._resume = ExactResume()

    @property
    def parts(self) -> list[CarbonCallback]:
        """The single-purpose callbacks that this one composes."""
        return list(self._parts)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the training phase, with the random state that a checkpoint had."""
        super().on_train_start(trainer, pl_module)
        self._resume.on_train_start(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the run's state and the random generators'."""
        return {"run": super().state_dict(), "random": self._resume.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take both."""
        super().load_state_dict(state_dict.get("run", {}))
        self._resume.load_state_dict(state_dict.get("random", {}))
