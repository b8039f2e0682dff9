"""CommunicationShare: how much of a step's time and energy goes into talking between ranks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.metrics import EnergyFigures
from carbon_trainer.distributed.communication_time import (
    STEP,
    Role,
    Shares,
    communication_time,
    role_of,
)
from carbon_trainer.ledger.facts import CommunicationSampled

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

FIRST_STEP = 10
"""The first step that is watched: the ones before it warm caches up."""

_QUIET = "6"
"""Kineto's level that says nothing; else it prints two lines for each profile."""


class CommunicationShare(CarbonCallback):
    """Watches a step now and then, on rank 0, and tells how much of it was communication.

    Nothing happens where there is one rank, or while another profiler is at work.

    Args:
        session: a run that somebody else opened; None to open one for each fit.
        communication_every: optimizer steps from one watched step to the next; 0 for never.
    """

    def __init__(
        self, *, session: RunSession | None = None, communication_every: int | None = None
    ) -> None:
        super().__init__(session=session, communication_every=communication_every)
        self._watch: StepWatch | None = None

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Forget the run before; watch where several ranks train."""
        every = lead.session.config.communication_every
        self._watch = None
        if every and trainer.world_size > 1:
            backend = str(torch.distributed.get_backend())
            device = trainer.strategy.root_device
            self._watch = StepWatch(lead.session, every, trainer.world_size, backend, device)
            if _has_own_profiler(trainer):
                self._watch.give_up("the trainer has a profiler of its own")
        lead.watch = self._watch

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return shares of time (0 to 1), and energy of a step's exposed communication (J)."""
        return self._watch.metrics() if self._watch is not None else {}

    def left(self) -> None:
        """Let go of a step that did not end."""
        if self._watch is not None:
            self._watch.let_go()


class StepWatch:
    """Runs every so manieth step under torch's profiler. What breaks in here stays in here.

    Args:
        session: the run.
        every: optimizer steps from one watched step to the next.
        ranks: processes of the run.
        backend: how they communicate, as torch calls it.
        device: what this rank trains on.
    """

    def __init__(
        self, session: RunSession, every: int, ranks: int, backend: str, device: torch.device
    ) -> None:
        self._session = session
        self._every = every
        self._first = min(FIRST_STEP, every - 1)
        self._ranks = ranks
        self._backend = backend
        self._on_gpu = device.type == "cuda"
        self._given_up = False
        self._profile: profile | None = None
        self._mark: Any = None
        self._shares = Shares()
        self._energy = EnergyFigures()

    def begin(self, step: int) -> None:
        """A step is about to begin."""
        if step % self._every == self._first and not self._given_up:
            self._shielded(self._begin)

    def end(self, step: int, *, disturbed: bool) -> bool:
        """Take a step that has ended.

        Args:
            step: its number.
            disturbed: something else took place in it, such as a validation: it does not count.

        Returns:
            Whether it was watched, and so took longer than others.
        """
        if self._profile is None:
            return False
        self._shielded(lambda: self._end(step, disturbed=disturbed))
        return True

    def metrics(self) -> dict[str, float]:
        """Return the means of the steps watched so far; none before the first."""
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
        """Watch no more; the record says why."""
        self._given_up = True
        self._session.record_gap("communication's share", why)

    def let_go(self) -> None:
        """End a profile whose step has not ended."""
        self._shielded(self._stopped)

    def _begin(self) -> None:
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            self.give_up("another profiler is at work")
            return
        # Read when the first profile starts; whoever has set it wants to hear.
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
        done = self._stopped()
        if done is None or disturbed:
            return
        time = communication_time(_events(done, on_gpu=self._on_gpu))
        self._shares.add(time)
        self._session.record(
            CommunicationSampled(
                step=step,
                ranks=self._ranks,
                backend=self._backend,
                step_ns=time.step_ns,
                communication_ns=time.communication_ns,
                exposed_ns=time.exposed_ns,
            )
        )

    def _stopped(self) -> profile | None:
        mark, self._mark = self._mark, None
        done, self._profile = self._profile, None
        if mark is not None:
            mark.__exit__(None, None, None)
        if done is not None:
            done.stop()
        return done

    def _shielded(self, call: Callable[[], object]) -> None:
        """Call something of ours; energy and budget hold whatever becomes of it."""
        try:
            call()
        except Exception as error:
            log.debug("watching a step", exc_info=True)
            self.give_up(f"{type(error).__name__}: {error}")


def _events(done: profile, *, on_gpu: bool) -> Iterator[tuple[int, int, Role]]:
    # Kineto's own events: torch's list of Python objects takes tens of times as long to make.
    for event in done.profiler.kineto_results.events():  # type: ignore[union-attr]
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


def _has_own_profiler(trainer: Trainer) -> bool:
    """Say whether Lightning profiles with Kineto too; it may wait for its turn at present."""
    from lightning.pytorch.profilers import PyTorchProfiler

    return isinstance(trainer.profiler, PyTorchProfiler)  # type: ignore[attr-defined]
