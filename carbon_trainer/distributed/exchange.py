"""The processes of a distributed run: who meters, and how their figures come together.

Everything here is called by all ranks at the same steps. It talks over gloo groups of its own, so
it neither waits for the GPU nor gets between the collectives of training.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from carbon_trainer.distributed.groups import join_group, leave_group
from carbon_trainer.distributed.node_metering import (
    ExchangeInterval,
    MeteringAssignment,
    NodeReport,
    RankInfo,
    assign_metering,
    report_of,
)
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.hardware import machine

if TYPE_CHECKING:
    from carbon_trainer.distributed.process import ProcessRank
    from carbon_trainer.energy.meter import EnergyMeter

log = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=120)
"""How long a machine is waited for; it is at the same step, or it has died."""


class NodeExchange:
    """This process's place among the others."""

    def __init__(self, rank: int, duty: MeteringAssignment | None, group: Any) -> None:
        self.rank = rank
        self.assignment = duty
        self._group = group
        self._cadence = ExchangeInterval()
        self._broken = ""

    @classmethod
    def create(cls, place: ProcessRank) -> NodeExchange | None:
        """Agree on who meters what; None where the run is one process.

        Every rank must call it at the same time.
        """
        if place.world_size == 1 or not dist.is_available() or not dist.is_initialized():
            return None
        everyone = join_group(TIMEOUT)
        mine = RankInfo(place.rank, place.node, _gpus(place.device))
        members: list[Any] = [None] * place.world_size
        dist.all_gather_object(members, mine, group=everyone)
        meters = sorted({min(m.rank for m in members if m.node == one.node) for one in members})
        group = join_group(TIMEOUT, meters)
        leave_group(everyone)
        duty = assign_metering(place.rank, members)
        return cls(place.rank, duty, group if duty and len(meters) > 1 else None)

    @property
    def is_due(self) -> bool:
        """Whether there are other machines to talk to."""
        return self._group is not None and not self._broken

    def exchange(self, step: int, meter: EnergyMeter, now_ns: int) -> list[NodeReport]:
        """Exchange reports if this step is one at which all do.

        Returns:
            The other machines' reports; none on ranks that do not keep the record.
        """
        if not self.is_due or not self._cadence.is_due(step):
            return []
        wait_steps = self._cadence.propose(step, now_ns) if self.rank == 0 else 0
        told = self._gather(meter, wait_steps, final=False)
        self._cadence.accept(step, max((wait for wait, _ in told), default=1))
        return [report for _, report in told if report is not None]

    def finish(self, meter: EnergyMeter) -> list[NodeReport]:
        """Exchange the last reports, after ``meter`` was stopped."""
        if not self.is_due:
            return []
        return [report for _, report in self._gather(meter, 0, final=True) if report is not None]

    def destroy(self) -> None:
        """Let go of the others, for good."""
        group, self._group = self._group, None
        leave_group(group)

    @property
    def broken(self) -> str:
        """Why reports are no longer exchanged; empty while they are."""
        return self._broken

    def _gather(
        self, meter: EnergyMeter, wait_steps: int, *, final: bool
    ) -> list[tuple[int, NodeReport | None]]:
        duty = self.assignment
        if duty is None:
            return []
        # The one that keeps the record needs no report of its own.
        report = None
        if self.rank != duty.meters[0]:
            report = report_of(meter, duty.node, machine.host_name(), final=final)
        told: list[Any] = [None] * len(duty.meters)
        try:
            dist.all_gather_object(told, (wait_steps, report), group=self._group)
        except RuntimeError as error:
            self._broken = " ".join(str(error).split())[:200]
            log.warning("other machines' energy is no longer known: %s", self._broken)
            return []
        return told


def _gpus(device: torch.device) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that this rank uses: its own, or all it sees on a CPU run."""
    visible = tuple(source.describe().device for source in discover_gpus())
    if device.type != "cuda" or device.index is None:
        return visible
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    own = f"GPU-{uuid}"
    if own in visible:
        return (own,)
    return (visible[device.index],) if device.index < len(visible) else visible
