"""A run of a training loop that we do not drive: counted, metered, decided on, step by step.

It knows torch only where the loop does, and several processes only where they have met.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, SupportsFloat, cast

from carbon_trainer.config import RunConfig
from carbon_trainer.control.budget import BudgetGuard
from carbon_trainer.control.failures import note_failure, outcome_of
from carbon_trainer.distributed.process import current_process
from carbon_trainer.runs.checkpoints import size_of
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint, budget_reached
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from carbon_trainer.control.participant import RankContext

log = logging.getLogger(__name__)

P = ParamSpec("P")


def shielded(
    method: Callable[Concatenate[LoopRun, P], None],
) -> Callable[Concatenate[LoopRun, P], None]:
    """Make a method that never ends the user's loop: what breaks is recorded."""

    @wraps(method)
    def call(self: LoopRun, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            log.debug("carbon-trainer's %s", method.__name__, exc_info=True)
            note_failure(self.session, method.__name__, error)

    return cast("Callable[Concatenate[LoopRun, P], None]", call)


class LoopRun:
    """One open run. In processes other than 0 it has no session.

    Args:
        config: the run's settings.
        parameters: the model's, for the time of the first checkpoint.
        resumed: the state of the run to go on with, from ``state``; None for a new one.

    Raises:
        InputError: if something that was given cannot be used, here or in process 0.
    """

    def __init__(
        self, config: RunConfig, parameters: int, resumed: Mapping[str, Any] | None
    ) -> None:
        self.outcome: Outcome | None = None
        self._member: RankContext | None = None
        self._processes = 1
        self._steps = int(resumed["step"]) if resumed else 0
        self._tokens = int(resumed["tokens"]) if resumed else 0
        self._ahead_mj = int(resumed.get("ahead_mj", 0)) if resumed else 0
        self._in_step = False
        self._left_tokens: int | None = None
        self._disturbed = True
        self._marks_set = False
        self._loss: SupportsFloat | None = None
        self._loss_due = False
        self._before_phase_mj = 0
        self._dearest_mj: dict[str, int] = {}
        self.session = self._joined(config, resumed)
        session, member = self.session, self._member
        self._meter = session.meter if session is not None else member.meter if member else None
        self._log_every = config.log_every
        self._watch: BudgetGuard | None = None
        if session is not None:
            session.step, session.tokens = self._steps, self._tokens
            self._watch = BudgetGuard(session, parameters)
        self._begin()

    def _joined(self, config: RunConfig, resumed: Mapping[str, Any] | None) -> RunSession | None:
        place = current_process()
        resume = _resume_point(resumed) if resumed else None
        if place is None:
            return RunSession.open(config, resume=resume, entry="loop")
        from carbon_trainer.control.participant import RankContext

        self._processes = place.world_size
        lead = place.rank == 0
        join = (
            RankContext.open_on_rank_zero(config, place, resume)
            if lead
            else RankContext.join_as_worker(config, place)
        )
        self._member = join
        return join.session

    @shielded
    def _begin(self) -> None:
        self._set_phase("train")
        self._obey(self._told(self._may_begin))

    def close(self, exception: BaseException | None) -> RunSession | None:
        """Close the run; return its session where this process keeps the record."""
        if exception is None:
            self._settle()
        self._set_phase("closing")
        ended = FINISHED if exception is None else outcome_of(exception)
        try:
            if self._member is not None:
                self._member.close(exception)
            elif self.session is not None:
                self.session.close(ended)
        except Exception as error:
            log.warning("the run could not be closed: %s; the next start books it.", error)
            log.debug("closing", exc_info=True)
        known = self.session.outcome if self.session is not None else self.outcome
        self.outcome = known or ended
        return self.session

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the run; plain types only."""
        session = self.session
        if session is None:
            return {}
        self._settle()
        return {
            **session.checkpoint_state(),
            "step": self._steps,
            "tokens": self._tokens,
            "ahead_mj": self._watch.remaining_need_mj if self._watch is not None else 0,
        }

    # Steps

    @shielded
    def step_begins(self) -> None:
        """A step begins."""
        self._settle()
        if self._meter is not None:
            if not self._marks_set:
                self._mark_on_gpu()
            self._meter.step_begin()
        self._in_step = True

    @shielded
    def step_ends(self, tokens: int) -> None:
        """A step is done: count it, and learn whether to go on."""
        if not self._end_mark():
            return
        self._count(tokens)
        if self._watch is not None:
            self._watch.end_step(disturbed=self._disturbed)
        self._disturbed = False
        if self._member is not None:
            self._member.exchange(self._steps)
        self._decide()

    @shielded
    def step_left(self, tokens: int | None) -> None:
        """The loop was left in the midst of a step.

        Args:
            tokens: what the step counts if it was left by ``break``; None if it has failed.
        """
        if self._end_mark():
            self._disturbed = True
            self._left_tokens = tokens

    def _end_mark(self) -> bool:
        """Mark the end of the step that is under way; return whether one was."""
        was, self._in_step = self._in_step, False
        if was and self._meter is not None:
            self._meter.step_end()
        return was

    def _count(self, tokens: int) -> None:
        # Every process has a batch of the same size.
        tokens *= self._processes
        self._steps += 1
        self._tokens += tokens
        if self.session is not None:
            self.session.tokens_per_step = tokens
            self.session.step, self.session.tokens = self._steps, self._tokens
        # Written when the next step begins: its loss is told after this.
        self._loss_due |= self._steps == 1 or self._steps % self._log_every == 0

    @shielded
    def _settle(self) -> None:
        """Count a step that was left by ``break``, and write down what is due."""
        tokens, self._left_tokens = self._left_tokens, None
        if tokens is not None:
            self._count(tokens)
        if self._loss_due:
            self._note_progress()

    def _mark_on_gpu(self) -> None:
        """Where the loop trains on a GPU, a step is what the GPU does, not what is launched."""
        self._marks_set = True
        torch: Any = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            make = torch.cuda.Event
            if self._meter is not None:
                self._meter.mark_steps_on_gpu(lambda: make(enable_timing=True))

    # Between steps

    @shielded
    def phase_begins(self, name: str) -> None:
        """Book as a phase from here on."""
        self._disturbed = True
        if self.session is not None:
            self._before_phase_mj = self.session.used_mj(upper=True)
        self._set_phase(name)

    @shielded
    def phase_ends(self, name: str) -> None:
        """Book as training again; a budget keeps room for another such phase."""
        self._set_phase("train")
        self._disturbed = True
        if self.session is not None and name != "checkpoint":
            used_mj = self.session.used_mj(upper=True) - self._before_phase_mj
            self._dearest_mj[name] = max(used_mj, self._dearest_mj.get(name, 0))
        # Other processes may not have had this phase: then all decide after the next step.
        if self._member is None:
            self._decide(waiting=True)

    @shielded
    def checkpoint_saved(self, path: Path, seconds: float) -> None:
        """Note a checkpoint, if it is there."""
        if self.session is not None and path.exists():
            why = self.outcome.status if self.outcome is not None else "periodic"
            self.session.checkpoint_saved(
                path, step=self._steps, size=size_of(path), seconds=seconds, why=why
            )

    @shielded
    def note_losses(self, loss: SupportsFloat | None, validation: SupportsFloat | None) -> None:
        """Note the last step's loss, read when it is due, and the last validation's, read now."""
        if loss is not None:
            # Kept until it is read, without the graph that it came from.
            detach = getattr(loss, "detach", None)
            self._loss = loss if detach is None else detach()
        if validation is not None:
            self._note_progress(validation)

    def _note_progress(self, validation: SupportsFloat | None = None) -> None:
        loss, self._loss, self._loss_due = self._loss, None, False
        if self.session is not None:
            told = [None if one is None else float(one) for one in (loss, validation)]
            self.session.progress(self._steps, self._tokens, *told)

    def _set_phase(self, name: str) -> None:
        if self._meter is not None:
            self._meter.set_phase(name)

    # Deciding: process 0 says why to stop, and all hear it at the same step

    def _decide(self, *, waiting: bool = False) -> None:
        agreement = self._member.consensus if self._member is not None else None
        if self.outcome is None and (agreement is None or agreement.is_due(self._steps)):
            self._obey(self._told(lambda: self._proposed(waiting)))

    def _told(self, decide: Callable[[], tuple[str | None, int]]) -> str | None:
        agreement = self._member.consensus if self._member is not None else None
        return (
            decide()[0] if agreement is None else agreement.broadcast_decision(decide, self._steps)
        )

    def _may_begin(self) -> tuple[str | None, int]:
        if self._watch is None:
            return None, 1
        return self._watch.reason_not_to_start(self._ahead_mj), 1

    def _proposed(self, waiting: bool) -> tuple[str | None, int]:
        """Say why to stop, if the run has to, and in how many steps to decide again."""
        session, watch = self.session, self._watch
        if session is None or watch is None:
            return None, 1
        try:
            session.follow_intensity()
            between_mj = sum(self._dearest_mj.values())
            reason = watch.reason_to_stop(between_mj, waiting=waiting)
            steps = 1
            if self._member is not None:
                now_ns = session.clock.now_ns()
                steps = self._member.consensus.steps_until_next(self._steps, now_ns)
            return reason, watch.max_steps(steps, between_mj)
        except Exception as error:  # noqa: BLE001 - recorded, by note_failure
            # The other processes wait for an answer.
            note_failure(session, "decision", error)
            return None, 1

    def _obey(self, reason: str | None) -> None:
        if reason is None:
            return
        self.outcome = budget_reached(reason)
        if self.session is not None:
            budget = self._watch.budget if self._watch is not None else None
            figures = {} if budget is None else {"limit_mj": budget.limit_mj}
            self.session.request_stop(self.outcome, **figures)


def _resume_point(state: Mapping[str, Any]) -> ResumePoint:
    return ResumePoint(
        run_id=str(state["run_id"]),
        checkpoint="a checkpoint of the loop's own",
        step=int(state["step"]),
        energy_mj=int(state["energy_mj"]),
    )
