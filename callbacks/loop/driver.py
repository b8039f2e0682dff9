"""Drives a run in a training loop of a user's own, step by step.

It imports torch only where the loop has done so, as it knows other processes through it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, SupportsFloat, cast

from carbon_trainer.callbacks.loop.face import LoopFace
from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.control.failures import outcome_of
from carbon_trainer.control.participant import RankContext
from carbon_trainer.control.phases import CHECKPOINT, CLOSING
from carbon_trainer.control.shifting import NO_END
from carbon_trainer.distributed.process import current_process
from carbon_trainer.errors import InputError
from carbon_trainer.live.server import LiveServer
from carbon_trainer.runs.checkpoints import size_of
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint
from carbon_trainer.runs.signals import HeldSignals

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from carbon_trainer.config import RunConfig
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

P = ParamSpec("P")


def shielded(
    method: Callable[Concatenate[LoopDriver, P], None],
) -> Callable[Concatenate[LoopDriver, P], None]:
    """Make a method that never ends the user's loop: what breaks is recorded."""

    @wraps(method)
    def call(self: LoopDriver, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            log.debug("carbon-trainer's %s", method.__name__, exc_info=True)
            self.driver.context.fail(method.__name__, error)

    return cast("Callable[Concatenate[LoopDriver, P], None]", call)


class LoopDriver:
    """Turns a RunRecorder's calls into calls of a run's driver.

    Args:
        config: the run's settings.
        parameters: the model's, for the time of the first checkpoint.
        resumed: the state of the run to resume, from ``state``; None for a new one.
        max_steps: optimizer steps that the loop does in all; None where it does not say.
        session: a session that the caller opened and will close; None to open one.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where an earlier run has.

    Attributes:
        driver: the run's.
        outcome: how the run ends; None while it goes on.

    Raises:
        InputError: if a setting does not fit, here or in process 0.
    """

    def __init__(
        self,
        config: RunConfig,
        parameters: int,
        resumed: Mapping[str, Any] | None,
        *,
        max_steps: int | None = None,
        session: RunSession | None = None,
        executor: Executor | None = None,
        remeasure: bool = False,
    ) -> None:
        config = session.config if session is not None else config
        if config.deadline is not None and max_steps is None:
            raise InputError(NO_END)
        self.outcome: Outcome | None = None
        self._config = config
        self._parameters = parameters
        self._executor = executor
        self._remeasure = remeasure
        self._signals = HeldSignals()
        self._holds_signals = False
        self._server: LiveServer | None = None
        self._has_gpu_marks = False
        self._abandoned_tokens: int | None = None
        self._loss: SupportsFloat | None = None
        self._loss_due = False
        resume = _resume_point(resumed) if resumed else None
        context = RankContext.open(config, current_process(), resume, session, entry="loop")
        self._face = LoopFace(max_steps, self._signals)
        self.driver = self._face.driver = TrainingDriver(context, self._face, resumed)
        try:
            self.outcome = self.driver.set_up(self._add_abilities)
        except Exception as error:
            self.close(error)
            raise
        self._begin()

    @property
    def session(self) -> RunSession | None:
        """The run's record; None in processes that keep none."""
        return self.driver.session

    @shielded
    def _begin(self) -> None:
        self.driver.begin(self.driver.step)

    def _add_abilities(self) -> None:
        """Add what the settings ask for to the driver: the same as Lightning's callbacks do."""
        driver, session, config = self.driver, self.session, self._config
        driver.throttle_for_deadline(config)
        if session is None:
            return
        driver.keep_budget(self._parameters)
        if driver.context.process.world_size > 1:
            # The processes have met through torch, so the loop has imported it.
            from carbon_trainer.control.communication import profiler_for

            driver.communication = profiler_for(session, driver.context.process)
        if config.prometheus_port is not None:
            self._server = LiveServer.start(session, config.prometheus_port)

    def close(self, exception: BaseException | None) -> RunSession | None:
        """Close the run; return its session if it was opened here."""
        closed = None
        if exception is None:
            self._settle()
        outcome = FINISHED if exception is None else outcome_of(exception)
        try:
            self.driver.set_phase(CLOSING)
            closed = self.driver.close(exception)
        except Exception as error:
            log.warning("the run could not be closed: %s; the next start recovers it.", error)
            log.debug("closing", exc_info=True)
        if self._server is not None:
            self._server.stop()
        recorded = self.session.outcome if self.session is not None else self.outcome
        self.outcome = recorded or outcome
        return closed

    def hold_signals(self) -> None:
        """Hold signals from here on: the loop asks whether to stop, so it will learn of them."""
        if not self._holds_signals:
            self._holds_signals = True
            self._signals.hold()

    def release_signals(self) -> None:
        """Deliver a signal that was held; the run is closed, and its report is there."""
        self._signals.release()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the run; plain types only."""
        self._settle()
        return self.driver.state()

    # Steps

    @shielded
    def step_begin(self) -> None:
        """A step begins."""
        self._settle()
        if not self._has_gpu_marks:
            self._mark_on_gpu()
        self.driver.step_begin()

    @shielded
    def step_end(self, tokens: int) -> None:
        """A step is done: count it, and learn whether to go on."""
        driver, config = self.driver, self._config
        step, tokens = driver.step + 1, self._of_all_processes(tokens)
        if config.deadline is not None and driver.plan is None:
            self._follow_plan(tokens)
        # Written when the next step begins: its loss is logged after this.
        self._loss_due |= driver.is_log_due(step)
        driver.step_end(step, tokens)
        self.outcome = driver.outcome

    @shielded
    def step_abandon(self, tokens: int | None) -> None:
        """The loop was left in the midst of a step.

        Args:
            tokens: what the step counts if it was left by ``break``; None if it has failed.
        """
        self.driver.step_abandon()
        self._abandoned_tokens = tokens

    @shielded
    def _settle(self) -> None:
        """Count a step that was left by ``break``, and write down what is due."""
        tokens, self._abandoned_tokens = self._abandoned_tokens, None
        if tokens is not None:
            step = self.driver.step + 1
            self.driver.count_step(step, self._of_all_processes(tokens))
            self._loss_due |= self.driver.is_log_due(step)
        if self._loss_due:
            self._record_progress()

    def _of_all_processes(self, tokens: int) -> int:
        # Every process has a batch of the same size.
        return tokens * self.driver.context.process.world_size

    def _mark_on_gpu(self) -> None:
        """Where the loop trains on a GPU, a step is what the GPU does, not what is launched."""
        self._has_gpu_marks = True
        torch: Any = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            self.driver.mark_steps_on_gpu()

    def _follow_plan(self, tokens: int) -> None:
        """Follow a plan from the first step on, when the size of a step is known.

        Power settings that an earlier run has measured count for this one if its model is as large
        and its steps have as many tokens; where these are not known, they are measured.
        """
        driver, session = self.driver, self.session
        if session is None:
            return
        kind: dict[str, str | float | None] = {
            "framework": "loop",
            "model": session.config.model,
            "parameters": self._parameters,
            "tokens_per_step": tokens,
            "ranks": driver.context.process.world_size,
        }
        driver.follow_plan(
            lambda: kind,
            executor=self._executor,
            remeasure=self._remeasure or not (tokens and self._parameters),
        )

    # Between steps

    @shielded
    def phase_begin(self, name: str) -> None:
        """Record under a phase from here on."""
        self.driver.phase_begin(name)

    @shielded
    def phase_end(self, name: str) -> None:
        """Record as training again; a budget keeps room for another such phase."""
        self.driver.phase_end()
        if name != CHECKPOINT:
            self._face.phases.add(name)
        # Other processes may not have had this phase: then all decide after the next step.
        if not self.driver.context.consensus.is_shared:
            self.driver.decide()
            self.outcome = self.driver.outcome

    @shielded
    def checkpoint_saved(self, path: Path, seconds: float) -> None:
        """Record a checkpoint, if it is there."""
        if self.session is not None and path.exists():
            why = self.outcome.status if self.outcome is not None else "periodic"
            self.session.checkpoint_saved(
                path, step=self.driver.step, size=size_of(path), seconds=seconds, why=why
            )

    @shielded
    def log_losses(self, loss: SupportsFloat | None, validation: SupportsFloat | None) -> None:
        """Take the last step's loss, read when it is due, and the last validation's, read now."""
        if loss is not None:
            # Kept until it is read, without the graph that it came from.
            detach = getattr(loss, "detach", None)
            self._loss = loss if detach is None else detach()
        if validation is not None:
            self._record_progress(validation)

    def _record_progress(self, validation: SupportsFloat | None = None) -> None:
        loss, self._loss, self._loss_due = self._loss, None, False
        self.driver.record_progress(
            loss=None if loss is None else float(loss),
            validation=None if validation is None else float(validation),
        )


def _resume_point(state: Mapping[str, Any]) -> ResumePoint:
    return ResumePoint(
        run_id=str(state["run_id"]),
        checkpoint="a checkpoint of the loop's own",
        step=int(state["step"]),
        energy_mj=int(state["energy_mj"]),
    )
