"""How much of a step's time and energy is communication between ranks, by profiling some steps."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from carbon_trainer.control.metrics import EnergyMetrics
from carbon_trainer.distributed.communication_time import (
    STEP,
    Role,
    Shares,
    communication_time,
    role_of,
)
from carbon_trainer.distributed.process import ProcessRank
from carbon_trainer.ledger.facts import CommunicationSampled
from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

FIRST_STEP = 10
"""The first step that is profiled: the ones before it warm caches up."""

_QUIET = "6"
"""Kineto's level that says nothing; else it prints two lines for each profile."""


def profiler_for(session: RunSession | None, process: ProcessRank) -> CommunicationProfiler | None:
    """Return what profiles a run's communication; None where there is none, or it is not wanted.

    Args:
        session: the run's record; None on ranks that keep none.
        process: this process.
    """
    every = session.config.communication_every if session is not None else 0
    if session is None or not every or process.world_size == 1:
        return None
    backend = str(torch.distributed.get_backend())
    return CommunicationProfiler(
        session, every, process.world_size, backend, on_gpu=process.is_on_gpu
    )


class CommunicationProfiler:
    """Runs every n-th step under torch's profiler. What breaks in here stays in here.

    Args:
        session: the run.
        every: optimizer steps from one profiled step to the next.
        world_size: processes of the run.
        backend: how they communicate, as torch calls it.
        on_gpu: whether this rank trains on a GPU.
    """

    def __init__(
        self, session: RunSession, every: int, world_size: int, backend: str, *, on_gpu: bool
    ) -> None:
        self._session = session
        self._every = every
        self._first = min(FIRST_STEP, every - 1)
        self._world_size = world_size
        self._backend = backend
        self._on_gpu = on_gpu
        self._given_up = False
        self._profile: profile | None = None
        self._mark: Any = None
        self._shares = Shares()
        self._energy = EnergyMetrics()

    def begin(self, step: int) -> None:
        """Start the profiler if the step that is about to begin is to be profiled."""
        if step % self._every == self._first and not self._given_up:
            self._shielded(self._begin)

    def end(self, step: int, *, disturbed: bool) -> bool:
        """Take a step that has ended.

        Args:
            step: its number.
            disturbed: something else took place in it, such as a validation: it does not count.

        Returns:
            Whether it was profiled, and so took longer than others.
        """
        if self._profile is None:
            return False
        self._shielded(lambda: self._end(step, disturbed=disturbed))
        return True

    def metrics(self) -> dict[str, float]:
        """Return the means of the steps profiled so far; none before the first."""
        j_per_step = self._energy.of(self._session).get("energy/j_per_step")
        communication, exposed = self._shares.communication, self._shares.exposed
        if communication is None or exposed is None:
            return {}
        figures = {
            "communication/time_share": communication,
            "communication/exposed_share": exposed,
        }
        if j_per_step is not None:
            figures["communication/energy_j_per_step"] = exposed * j_per_step
        return figures

    def give_up(self, why: str) -> None:
        """Profile no more, and record why."""
        self._given_up = True
        self._session.record_gap("communication's share", why)

    def close(self) -> None:
        """End a profile whose step has not ended."""
        self._shielded(self._stop)

    def _begin(self) -> None:
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            self.give_up("another profiler is at work")
            return
        # Read when the first profile starts; a level that the user has set stays.
        os.environ.setdefault("KINETO_LOG_LEVEL", _QUIET)
        activities = [ProfilerActivity.CPU]
        if self._on_gpu:
            activities.append(ProfilerActivity.CUDA)
            # So that the step before is not a part of this one.
            torch.cuda.synchronize()
        self._profile = profile(activities=activities)
        self._profile.start()
        self._mark = record_function(STEP)
        self._mark.__enter__()

    def _end(self, step: int, *, disturbed: bool) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
        finished = self._stop()
        if finished is None or disturbed:
            return
        time = communication_time(_events(finished, on_gpu=self._on_gpu))
        self._shares.add(time)
        self._session.record(
            CommunicationSampled(
                step=step,
                ranks=self._world_size,
                backend=self._backend,
                step_ns=time.step_ns,
                communication_ns=time.communication_ns,
                exposed_ns=time.exposed_ns,
            )
        )

    def _stop(self) -> profile | None:
        mark, self._mark = self._mark, None
        finished, self._profile = self._profile, None
        if mark is not None:
            mark.__exit__(None, None, None)
        if finished is not None:
            finished.stop()
        return finished

    def _shielded(self, call: Callable[[], object]) -> None:
        """Call something of ours; energy and budget hold whatever becomes of it."""
        try:
            call()
        except Exception as error:
            log.debug("profiling a step", exc_info=True)
            self.give_up(f"{type(error).__name__}: {error}")


def _events(finished: profile, *, on_gpu: bool) -> Iterator[tuple[int, int, Role]]:
    # Kineto's own events: torch's list of Python objects takes tens of times as long to make.
    for event in finished.profiler.kineto_results.events():  # type: ignore[union-attr]
        role = role_of(event.name(), _activity(event), on_gpu=on_gpu)
        if role is not None:
            yield event.start_ns(), event.end_ns(), role


def _activity(event: Any) -> str:
    """Return the kind of a Kineto event.

    torch 2.11's events do not name it; where they ran and whether they are annotations is enough
    for ``role_of``.
    """
    if hasattr(event, "activity_type"):
        return str(event.activity_type())
    on_host = event.device_type().name == "CPU"
    if event.is_user_annotation():
        return "user_annotation" if on_host else "gpu_user_annotation"
    return "cpu_op" if on_host else "kernel"
