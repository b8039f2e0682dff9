"""CarbonAware: metering, budget, schedule, power, exact resume and report in one callback."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Unpack

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.budget import EnergyBudget
from carbon_trainer.callbacks.communication import CommunicationShare
from carbon_trainer.callbacks.emissions import EmissionsTracking
from carbon_trainer.callbacks.metering import EnergyMetering
from carbon_trainer.callbacks.prometheus import PrometheusExporter
from carbon_trainer.callbacks.report import SustainabilityReport
from carbon_trainer.callbacks.resume import ExactResume
from carbon_trainer.callbacks.schedule import CarbonSchedule
from carbon_trainer.callbacks.throttle import PowerThrottle
from carbon_trainer.config import RunSettings, config_from_settings, settings_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.runs.session import RunSession


class CarbonAware(CarbonCallback):
    """All of carbon-trainer for a Lightning trainer of your own.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where an earlier run has.
        settings: budgets, grid, schedule and record, named as in RunConfig: see RunSettings.
            Without a deadline power is left alone, unless ``throttle`` says otherwise.

    Raises:
        InputError: if a setting is unknown or does not fit.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        executor: Executor | None = None,
        remeasure: bool = False,
        **settings: Unpack[RunSettings],
    ) -> None:
        config = config_from_settings("CarbonAware", settings)
        super().__init__(session=session, **settings_of(config, explicit_only=True))
        self.budget = EnergyBudget()
        if session is not None:
            config = session.config
        unless_asked = "off" if config.deadline is None else config.throttle
        self._parts: list[CarbonCallback] = [
            EnergyMetering(),
            EmissionsTracking(),
            CommunicationShare(),
            self.budget,
            PowerThrottle(mechanism=self.settings.get("throttle", unless_asked)),
            CarbonSchedule(remeasure=remeasure, executor=executor),
            SustainabilityReport(),
        ]
        if config.prometheus_port is not None:
            self._parts.append(PrometheusExporter(config.prometheus_port))
        self._resume = ExactResume()

    @property
    def parts(self) -> list[CarbonCallback]:
        """This one, whose settings are the run's, and the callbacks that it composes."""
        return [self, *self._parts]

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
