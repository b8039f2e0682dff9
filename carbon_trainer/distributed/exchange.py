"""The processes of a distributed run: who meters, and how their figures come together.

Everything here is called by all ranks at the same steps. It talks over gloo groups of its own, so
it neither waits for the GPU nor gets between the collectives of training.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from carbon_trainer.distributed.node_metering import (
    ExchangeInterval,
    MeteringAssignment,
    NodeReport,
    RankInfo,
    assign_metering,
    report_of,
)
from carbon_trainer.distributed.process import ProcessRank, create_group
from carbon_trainer.energy.sources.nvml import discover_gpus
from carbon_trainer.hardware import machine

if TYPE_CHECKING:
    from carbon_trainer.distributed.groups import ProcessGroup
    from carbon_trainer.energy.meter import EnergyMeter

log = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=120)
"""How long a machine is waited for; it is at the same step, or it has died."""


class NodeExchange:
    """Exchanges what machines have metered, between the ranks that meter.

    Make one with ``create``, on every rank at the same time.

    Attributes:
        rank: this process's number.
        assignment: what it meters; None where another rank meters its machine.
    """

    def __init__(
        self, rank: int, assignment: MeteringAssignment | None, group: ProcessGroup | None
    ) -> None:
        self.rank = rank
        self.assignment = assignment
        self._group = group
        self._interval = ExchangeInterval()
        self._broken = ""

    @classmethod
    def create(cls, process: ProcessRank) -> NodeExchange | None:
        """Agree on who meters what; None where the run is one process.

        Every rank must call it at the same time.
        """
        group = create_group(process, TIMEOUT)
        if group is None:
            return None
        ranks = group.gather(RankInfo(process.rank, process.node, _gpus(process)))
        first_ranks: dict[str, int] = {}
        for info in ranks:
            first_ranks.setdefault(info.node, info.rank)
        meters = sorted(first_ranks.values())
        # Every rank has to make the group, also those that are not in it.
        meter_group = create_group(process, TIMEOUT, meters)
        group.destroy()
        assignment = assign_metering(process.rank, ranks)
        is_used = assignment is not None and len(meters) > 1
        return cls(process.rank, assignment, meter_group if is_used else None)

    @property
    def is_due(self) -> bool:
        """Whether there are other machines to talk to."""
        return self._group is not None and not self._broken

    def exchange(self, step: int, meter: EnergyMeter, now_ns: int) -> list[NodeReport]:
        """Exchange reports if this step is one at which all do.

        Returns:
            The other machines' reports; none on ranks that do not keep the record.
        """
        if not self.is_due or not self._interval.is_due(step):
            return []
        wait_steps = self._interval.propose(step, now_ns) if self.rank == 0 else 0
        gathered = self._gather(meter, wait_steps, final=False)
        self._interval.accept(step, max((steps for steps, _ in gathered), default=1))
        return [report for _, report in gathered if report is not None]

    def finish(self, meter: EnergyMeter) -> list[NodeReport]:
        """Exchange the last reports, after ``meter`` was stopped."""
        if not self.is_due:
            return []
        gathered = self._gather(meter, 0, final=True)
        return [report for _, report in gathered if report is not None]

    def destroy(self) -> None:
        """Leave the other ranks, for good."""
        group, self._group = self._group, None
        if group is not None:
            group.destroy()

    @property
    def broken(self) -> str:
        """Why reports are no longer exchanged; empty while they are."""
        return self._broken

    def _gather(
        self, meter: EnergyMeter, wait_steps: int, *, final: bool
    ) -> list[tuple[int, NodeReport | None]]:
        assignment, group = self.assignment, self._group
        if assignment is None or group is None:
            return []
        # The rank that keeps the record needs no report of its own.
        report = None
        if self.rank != assignment.meters[0]:
            report = report_of(meter, assignment.node, machine.host_name(), final=final)
        try:
            return group.gather((wait_steps, report))
        except RuntimeError as error:
            self._broken = " ".join(str(error).split())[:200]
            log.warning("other machines' energy is no longer known: %s", self._broken)
            return []


def _gpus(process: ProcessRank) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that a rank uses: its own, or all it sees on a CPU run."""
    visible = tuple(source.describe().device for source in discover_gpus())
    device = process.device
    if device is None or device.type != "cuda" or device.index is None:
        return visible
    torch: Any = sys.modules["torch"]
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    own = f"GPU-{uuid}"
    if own in visible:
        return (own,)
    return (visible[device.index],) if device.index < len(visible) else visible
