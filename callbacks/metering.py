"""EnergyMetering: what training uses, from GPUs and host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.metrics import EnergyMetrics

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class EnergyMetering(CarbonCallback):
    """Meters a training run and records it in the ledger.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        name: the run's name, for people.
        project: the project that it belongs to.
        runs_dir: folder of runs and their reports.
        ledger: a file's path or a database URL; by default ``ledger.sqlite`` in ``runs_dir``.
        host_metering: meter CPU and memory too, through CodeCarbon.
        log_every: optimizer steps between recorded figures.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        name: str | None = None,
        project: str | None = None,
        runs_dir: str | Path | None = None,
        ledger: str | None = None,
        host_metering: bool | None = None,
        log_every: int | None = None,
    ) -> None:
        super().__init__(
            session=session,
            name=name,
            project=project,
            runs_dir=Path(runs_dir) if runs_dir is not None else None,
            ledger=ledger,
            host_metering=host_metering,
            log_every=log_every,
        )
        self._metrics = EnergyMetrics()

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Begin with a run's own figures."""
        self._metrics = EnergyMetrics()

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return the machines' energy (kWh, before PUE), their power (W), and per step (J)."""
        return self._metrics.of(session)
