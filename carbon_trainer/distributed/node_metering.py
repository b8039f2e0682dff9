"""Several processes and machines, one run: who meters what, and what they tell each other.

One process a machine meters the devices that the machine's processes use, each once; what it has
metered goes to the process that keeps the record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.energy.meter import EnergyMeter, MeteredInterval
from carbon_trainer.energy.poller import MeterEvent
from carbon_trainer.energy.sources.base import Component

EXCHANGE_S = 1.0
"""About how often machines tell each other what they have used, seconds."""


@dataclass(frozen=True, slots=True)
class RankInfo:
    """One process of a run.

    Attributes:
        rank: its number in the run.
        node: the machine it runs on.
        gpus: UUIDs of the GPUs that it uses.
    """

    rank: int
    node: str
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeteringAssignment:
    """What a process has to meter.

    Attributes:
        node: the machine.
        gpus: UUIDs of the GPUs that its processes use, each once.
        meters: the ranks that meter, one a machine, in order; the first keeps the record.
    """

    node: str
    gpus: tuple[str, ...]
    meters: tuple[int, ...]


def assign_metering(rank: int, members: Sequence[RankInfo]) -> MeteringAssignment | None:
    """Return what a process meters; None where another of its machine does.

    Args:
        rank: the process.
        members: all of the run's.
    """
    nodes: dict[str, list[RankInfo]] = {}
    for member in sorted(members, key=lambda member: member.rank):
        nodes.setdefault(member.node, []).append(member)
    meters = tuple(sorted(group[0].rank for group in nodes.values()))
    for node, group in nodes.items():
        if group[0].rank == rank:
            gpus = dict.fromkeys(gpu for member in group for gpu in member.gpus)
            return MeteringAssignment(node, tuple(gpus), meters)
    return None


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a machine tells since its last report; plain values only.

    Attributes:
        node: the machine.
        host: its name.
        sources: its devices, as SourceInfo's fields.
        intervals: what has become known.
        events: what has happened to devices.
        used_mj: the energy so far.
        upper_mj: the upper estimate of it, as budgets need it.
        power_w: its present power.
        peak_w: its highest power of late.
    """

    node: str
    host: str
    sources: tuple[dict[str, Any], ...]
    intervals: tuple[MeteredInterval, ...]
    events: tuple[MeterEvent, ...]
    used_mj: int
    upper_mj: int
    power_w: float
    peak_w: float


def report_of(meter: EnergyMeter, node: str, host: str, *, final: bool = False) -> NodeReport:
    """Say what a machine has metered; devices get names that are theirs in the whole run.

    Args:
        meter: the machine's.
        node: the machine.
        host: its name.
        final: up to the stop, with what had to be extrapolated.
    """
    rows = meter.summary().devices
    intervals = meter.drain_intervals(final=final)
    return NodeReport(
        node=node,
        host=host,
        sources=tuple(
            {**dataclasses.asdict(row.info), "device": _device(node, row.info)} for row in rows
        ),
        intervals=tuple(
            dataclasses.replace(interval, device=_device(node, interval)) for interval in intervals
        ),
        events=tuple(meter.events()),
        used_mj=meter.used_mj(),
        upper_mj=meter.used_mj(upper=True),
        power_w=meter.power_w(),
        peak_w=meter.peak_power_w(),
    )


class RemoteNodes:
    """What other machines have used, by their last reports."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, NodeReport]] = {}

    def update(self, report: NodeReport, now_ns: int) -> bool:
        """Take a report; return whether its machine, or a device of it, is new."""
        before = self._last.get(report.node)
        self._last[report.node] = now_ns, report
        return before is None or _names(before[1]) != _names(report)

    def used_mj(self, now_ns: int, *, upper: bool) -> int:
        """Return their energy until now: as reported, and since then by the power reported."""
        return sum(
            self._one(report, now_ns - at_ns, upper) for at_ns, report in self._last.values()
        )

    def power_w(self) -> float:
        """Return their power as last reported, watts."""
        return sum(report.power_w for _, report in self._last.values())

    def end(self) -> None:
        """They use nothing any more."""
        self._last = {
            node: (at_ns, dataclasses.replace(report, power_w=0.0, peak_w=0.0))
            for node, (at_ns, report) in self._last.items()
        }

    def _one(self, report: NodeReport, since_ns: int, upper: bool) -> int:
        known_mj = report.upper_mj if upper else report.used_mj
        power_w = report.peak_w if upper else report.power_w
        return known_mj + round(1000 * power_w * since_ns / NS_PER_S)


class ExchangeInterval:
    """At which steps to exchange: about each second, and at the same ones everywhere.

    Every process counts alike, and takes the number of steps until the next exchange from the one
    that keeps the record.

    Args:
        every_s: how far exchanges should be apart, seconds.
    """

    def __init__(self, every_s: float = EXCHANGE_S) -> None:
        self.next_step = 1
        self._every_s = every_s
        self._at: tuple[int, int] | None = None

    def is_due(self, step: int) -> bool:
        """Say whether to exchange after this step."""
        return step >= self.next_step

    def propose(self, step: int, now_ns: int) -> int:
        """Return how many steps to wait; for the process that keeps the record."""
        before, self._at = self._at, (step, now_ns)
        if before is None or now_ns <= before[1]:
            return 1
        steps_per_s = (step - before[0]) * NS_PER_S / (now_ns - before[1])
        return max(1, round(steps_per_s * self._every_s))

    def accept(self, step: int, wait_steps: int) -> None:
        """Take what was agreed."""
        self.next_step = step + max(1, wait_steps)


def _device(node: str, of: Any) -> str:
    """GPUs have ids of their own; every machine has a CPU and memory."""
    return str(of.device) if of.component is Component.GPU else f"{node}/{of.device}"


def _names(report: NodeReport) -> set[tuple[str, str]]:
    return {(str(row["device"]), str(row["name"])) for row in report.sources}
