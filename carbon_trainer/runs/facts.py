"""Facts that a run's session records: what the run is, where it runs, by what it is accounted."""

from __future__ import annotations

import dataclasses
from typing import Any

from carbon_trainer.config import MeteredConfig
from carbon_trainer.distributed.node_metering import NodeReport
from carbon_trainer.energy.meter import EnergySummary, MeteredInterval
from carbon_trainer.hardware import machine
from carbon_trainer.ledger.facts import (
    BoundaryStated,
    IntensityUsed,
    Interval,
    MachineDescribed,
    RunOpened,
)
from carbon_trainer.runs.accounting import EmissionFactor


def run_opened(config: MeteredConfig, entry: str) -> RunOpened:
    """Return the fact that a run was opened.

    Args:
        config: what the run was asked to do.
        entry: who opened it.
    """
    return RunOpened(
        name=config.name,
        project=config.project,
        config=config.to_json(),
        software=machine.software_versions(),
        entry=entry,
        user=_user(config),
    )


def boundary_stated(config: MeteredConfig) -> BoundaryStated:
    """Return the fact that says whose machines the run uses."""
    return BoundaryStated(
        operation=config.operation or "",
        organisation=config.organisation,
        by=_user(config) or "the run's settings",
    )


def intensity_used(factor: EmissionFactor, currency: str) -> IntensityUsed:
    """Return the fact that says by which factor energy is accounted from now on."""
    intensity = dataclasses.asdict(factor.intensity)
    return IntensityUsed(
        **intensity,
        pue=factor.pue,
        pue_method="assumed" if factor.pue == 1.0 else "as given",
        price_per_kwh=factor.price_per_kwh,
        currency=currency,
    )


def machine_described(summary: EnergySummary) -> MachineDescribed:
    """Return the fact that describes this machine and its metered devices."""
    sources = [dataclasses.asdict(row.info) for row in summary.devices]
    return MachineDescribed(
        host=machine.host_name(),
        os=machine.operating_system(),
        cpu=machine.cpu_name(),
        cpu_cores=machine.cpu_cores(),
        memory_bytes=machine.memory_bytes(),
        sources=[_plain_values(row) for row in sources],
    )


def remote_machine_described(report: NodeReport) -> MachineDescribed:
    """Return the fact that describes another of the run's machines."""
    return MachineDescribed(
        host=report.host,
        os="",
        cpu="",
        cpu_cores=0,
        memory_bytes=0,
        sources=[_plain_values(row) for row in report.sources],
    )


def interval_recorded(interval: MeteredInterval, tokens_per_step: int) -> Interval:
    """Return a metered interval as the ledger keeps it."""
    return Interval(
        device=interval.device,
        component=str(interval.component),
        start_ns=interval.start_ns,
        end_ns=interval.end_ns,
        energy_mj=interval.energy_mj,
        method=str(interval.method),
        sigma_mj=round(interval.sigma_mj),
        phase=interval.phase,
        steps=interval.steps,
        tokens=interval.steps * tokens_per_step,
    )


def _user(config: MeteredConfig) -> str:
    return machine.user_name() if config.user is None else config.user


def _plain_values(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose enumerations are plain strings, as JSON keeps them."""
    return {key: str(value) if isinstance(value, str) else value for key, value in row.items()}
