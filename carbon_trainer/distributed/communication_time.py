"""How much of a training step is communication between ranks, from what a profiler saw of it.

Time is *exposed* where ranks communicate and the training thread, or the GPU, does no work of the
step meanwhile: that much sooner the step would end if communication took no time. Work that goes
on beside communication hides it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

STEP = "carbon_trainer::step"
"""The name under which a step is marked in a profile."""

Span = tuple[int, int]
"""When something began and ended, nanoseconds."""

_DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
_DEVICE_COLLECTIVES = ("nccl", "rccl", "oneccl")
_HOST_COLLECTIVES = ("gloo:", "mpi:")
_CALLS = ("c10d::", "_c10d_functional::", "_c10d_functional_autograd::")
_HOST_WORK = ("aten::", "fsdp::")


class Role(Enum):
    """What an event of a profile is to a step."""

    STEP = auto()
    COMMUNICATION = auto()
    CALL = auto()
    """The training thread hands data over, or waits for it: communication, and never work."""
    WORK = auto()


def role_of(name: str, activity: str, *, on_gpu: bool) -> Role | None:
    """Say what an event is to its step; None where it is nothing of either.

    On a GPU only what the GPU itself does counts: Python runs ahead of it, and calls wait for
    nothing.

    Args:
        name: the event's, as Kineto has it: ``ncclDevKernel_AllReduce…``, ``gloo:all_reduce``.
        activity: its kind there: ``kernel``, ``cpu_op``, ``user_annotation`` …
        on_gpu: whether the run trains on GPUs.
    """
    if name == STEP:
        return Role.STEP if activity == "user_annotation" else None
    if on_gpu:
        if activity not in _DEVICE_WORK:
            return None
        return Role.COMMUNICATION if name.startswith(_DEVICE_COLLECTIVES) else Role.WORK
    if name.startswith(_HOST_COLLECTIVES):
        return Role.COMMUNICATION
    if name.startswith(_CALLS):
        return Role.CALL
    return Role.WORK if name.startswith(_HOST_WORK) else None


@dataclass(frozen=True, slots=True)
class CommunicationTime:
    """The time of one step, nanoseconds: ``exposed_ns <= communication_ns <= step_ns``."""

    step_ns: int
    communication_ns: int
    exposed_ns: int


def communication_time(events: Iterable[tuple[int, int, Role]]) -> CommunicationTime:
    """Add up a step's communication.

    Args:
        events: begin (ns), end (ns) and role of each; they may overlap and nest in any way, and
            what lies outside of the step is cut off.

    Raises:
        ValueError: if the step itself is not among them, or is there twice.
    """
    of_role: dict[Role, list[Span]] = {role: [] for role in Role}
    for start_ns, end_ns, role in events:
        of_role[role].append((start_ns, end_ns))
    if len(of_role[Role.STEP]) != 1:
        raise ValueError(f"the profile has {len(of_role[Role.STEP])} steps instead of one")
    (step,) = of_role[Role.STEP]
    calls = of_role[Role.CALL]
    communication = merged([*of_role[Role.COMMUNICATION], *calls], within=step)
    # What waits in an operator, as sharded tensors do, is a call inside of work.
    work = without(merged(of_role[Role.WORK], within=step), merged(calls, within=step))
    exposed = without(communication, work)
    return CommunicationTime(step[1] - step[0], _length(communication), _length(exposed))


def merged(spans: Iterable[Span], *, within: Span) -> list[Span]:
    """Return the same instants as spans in order that neither touch nor overlap."""
    result: list[Span] = []
    for start, end in sorted(spans):
        start, end = max(start, within[0]), min(end, within[1])
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def without(spans: Sequence[Span], removed: Sequence[Span]) -> list[Span]:
    """Return what is left of merged spans when other merged spans are taken out."""
    result: list[Span] = []
    first = 0
    for start, end in spans:
        while first < len(removed) and removed[first][1] <= start:
            first += 1
        position = first
        while position < len(removed) and removed[position][0] < end:
            if start < removed[position][0]:
                result.append((start, removed[position][0]))
            start = max(start, removed[position][1])
            position += 1
        if start < end:
            result.append((start, end))
    return result


class Shares:
    """Shares of time of watched steps, as they come in."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: list[CommunicationTime] = []

    def add(self, time: CommunicationTime) -> None:
        """Take a step."""
        self._times.append(time)

    @property
    def communication(self) -> float | None:
        """The mean share of time in communication, 0 to 1; None before the first step."""
        return self._mean([time.communication_ns / time.step_ns for time in self._times])

    @property
    def exposed(self) -> float | None:
        """The mean share of time in exposed communication, 0 to 1; None before the first step."""
        return self._mean([time.exposed_ns / time.step_ns for time in self._times])

    @staticmethod
    def _mean(shares: Sequence[float]) -> float | None:
        return math.fsum(shares) / len(shares) if shares else None


def _length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
