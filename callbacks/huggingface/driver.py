"""One call of a transformers Trainer's ``train``: what its hooks do to the run's session."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from carbon_trainer.callbacks.huggingface.arguments import epoch_may_end, tokens_in, usual_folder
from carbon_trainer.callbacks.huggingface.state import leave_state
from carbon_trainer.control.actions import Action, Power, Stop
from carbon_trainer.control.budget import BudgetGuard
from carbon_trainer.control.failures import shielded
from carbon_trainer.control.metrics import EnergyFigures, emissions_figures
from carbon_trainer.control.participant import RankContext, state_of
from carbon_trainer.control.pausing import TRAIN, Driver, run_pause
from carbon_trainer.control.shifting import PlanController
from carbon_trainer.control.throttling import PowerController
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.runs.checkpoints import size_of
from carbon_trainer.runs.outcome import budget_reached
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

VALIDATION, CHECKPOINT, CLOSING = "validation", "checkpoint", "closing"


class TrainerRun(Driver):
    """Drives one run through one ``train``. On ranks other than 0 it has no session.

    Args:
        member: this process's part in the run.
        watch: the run's budget, on rank 0.
        args: the trainer's arguments.
        tokens: tokens trained on by earlier segments.
        waited_ns: how long earlier segments have stood still.

    Attributes:
        pacer: turns power down; None where nothing does.
        shifter: follows the plan, on rank 0; None without a deadline.
    """

    def __init__(
        self,
        member: RankContext,
        watch: BudgetGuard | None,
        args: TrainingArguments,
        tokens: int,
        waited_ns: int = 0,
    ) -> None:
        super().__init__(member.session, waited_ns)
        self.member = member
        self.pacer: PowerController | None = None
        self.shifter: PlanController | None = None
        self.phase = TRAIN
        self.stop: Stop | None = None
        self.has_nothing_left = False
        self.first_validation: Callable[[int], int] = lambda _: 0
        self.sees_evaluations = False
        self._watch = watch
        self._figures = EnergyFigures()
        self._ranks = args.world_size
        self._finds_batch_size = args.auto_find_batch_size
        self._tokens = self._tokens_before = tokens
        self._steps = 0
        self._tokens_of_step = 0
        self._validation_mj = 0
        self._step_disturbed = True
        self._saved: tuple[Path, float] | None = None
        if member.session is not None:
            member.session.tokens = tokens

    @property
    def session(self) -> RunSession | None:
        """The run's record; None on ranks that keep none."""
        return self.recorder

    def begin(self, args: TrainingArguments, state: TrainerState) -> None:
        """Training starts, anew or again."""
        if self.session is not None:
            self.session.step = state.global_step
        self.set_phase(self.training_phase)
        meter = self.member.meter
        if meter is not None and args.device.type == "cuda":
            # Python runs ahead of the GPU: a step is what the GPU does, not what is launched.
            meter.mark_steps_on_gpu(partial(torch.cuda.Event, enable_timing=True))

    def leave(self) -> None:
        """Training is over, in whatever way: put the power back, and plan no more."""
        if self.shifter is not None:
            self.shifter.close()
        if self.pacer is not None:
            self.pacer.close()

    def set_phase(self, name: str) -> None:
        """Book what is used from now on under a phase."""
        self.phase = name
        self.member.set_phase(name)

    def note(self, decision: str, why: str) -> None:
        """Write something down that a reader of the record should know."""
        if self.session is not None:
            self.session.record(Decision(decision=decision, why=why))

    def retries(self, error: BaseException) -> bool:
        """Tell whether the trainer begins again, with smaller batches, after an exception."""
        if not self._finds_batch_size or not isinstance(error, Exception):
            return False
        from accelerate.utils.memory import should_reduce_batch_size

        return bool(should_reduce_batch_size(error))

    # Steps

    def step_begin(self) -> None:
        """A step starts: the first of its micro-batches."""
        if self.disturbed and self._watch is not None:
            self._watch.begin_step()
        self._step_disturbed, self.disturbed = self.disturbed, False
        if self.member.meter is not None:
            self.member.meter.step_begin()

    def step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> None:
        """The optimizer has stepped: count, and decide whether to go on."""
        step = state.global_step
        if self.member.meter is not None:
            self.member.meter.step_end()
        self._tokens += self._tokens_of_step
        self._tokens_of_step = 0
        self.member.exchange(step)
        session = self.session
        if session is not None:
            session.step, session.tokens = step, self._tokens
            # Steps differ in length, so the mean is what intervals are told.
            self._steps += 1
            session.tokens_per_step = round((self._tokens - self._tokens_before) / self._steps)
            if self._watch is not None:
                self._watch.end_step()
            is_due = step == 1 or step % session.config.log_every == 0
            if is_due and not control.should_log:
                session.progress(step, self._tokens)
        if self.shifter is not None:
            self.shifter.step_done(disturbed=self._step_disturbed)
        if self.pacer is not None:
            self.pacer.step_done(disturbed=self._step_disturbed)
        decided = partial(self._decided, args, state, control)
        action = decided()
        if action is not None:
            self._obey(run_pause(self, action, decided), control)

    def epoch_end(self, control: TrainerControl) -> None:
        """An epoch has ended; after a stop nothing more is evaluated or saved."""
        if self.stop is not None:
            control.should_evaluate = control.should_save = False

    def count(self, inputs: Any) -> None:
        """Count the tokens of a micro-batch, padding too; every rank has as many."""
        if self.phase == self.training_phase:
            self._tokens_of_step += tokens_in(inputs) * self._ranks

    def _decided(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> Action | None:
        """Return what is to be done now, the same on every rank; None for going on."""
        agreement, step = self.member.consensus, state.global_step
        if not (self.waiting or agreement.is_due(step)):
            return None
        return agreement.broadcast_decision(lambda: self._proposed(args, state, control), step)

    def _proposed(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> tuple[Action | None, int]:
        """Decide, on rank 0; what breaks is ours, and never leaves other ranks waiting."""
        session, agreement, watch = self.session, self.member.consensus, self._watch
        if session is None or watch is None:
            return None, 1
        try:
            session.follow_intensity()
            validation_mj = self._validation_mj or self.first_validation(watch.next_mj)
            steps = 1
            if not self.waiting:
                steps = agreement.steps_until_next(state.global_step, session.clock.now_ns())
            steps = watch.max_steps(steps, validation_mj)
            follows = control.should_evaluate or epoch_may_end(args, state)
            if control.should_training_stop and not control.should_evaluate:
                return None, steps
            reason = watch.reason_to_stop(
                validation_mj if follows else 0,
                waiting=self.waiting,
                steps_left=not control.should_training_stop,
            )
            if reason is not None and watch.budget is not None:
                return Stop(budget_reached(reason), {"limit_mj": watch.budget.limit_mj}), steps
            return self._shifted(state, control), steps
        except Exception as error:
            if not agreement.is_shared:
                raise
            log.debug("deciding", exc_info=True)
            self.member.failed("decision", error)
            return None, 1

    def _shifted(self, state: TrainerState, control: TrainerControl) -> Action | None:
        """Ask the schedule, where there is one and steps are left."""
        if self.shifter is None or control.should_training_stop:
            return None
        return self.shifter.propose(lambda: max(0, state.max_steps - state.global_step))

    def _obey(self, action: Action, control: TrainerControl) -> None:
        if isinstance(action, Power) and self.pacer is not None:
            self.disturbed = True
            self.pacer.power(action.power_fraction, action.mechanism)
        elif isinstance(action, Stop):
            self.stop = action
            if self.session is not None:
                self.session.request_stop(action.outcome, **action.figures)
                log.warning("training stops with a checkpoint: %s.", action.outcome.reason)
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False

    # Figures

    def add_figures(self, logs: dict[str, Any]) -> None:
        """Add what the run has used to what the trainer logs, once."""
        if self.session is None or self.phase == VALIDATION or "energy/machines_kwh" in logs:
            return
        logs.update(self._figures.of(self.session))
        logs.update(emissions_figures(self.session))
        if self._watch is not None:
            logs.update(self._watch.metrics())

    def logged(self, state: TrainerState, logs: Mapping[str, Any]) -> None:
        """Note the loss that the trainer logs."""
        loss = logs.get("loss")
        if self.session is not None and isinstance(loss, int | float):
            self.session.progress(state.global_step, self._tokens, loss=float(loss))

    # Validations and checkpoints

    def validating(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluate, and learn what it uses."""
        if self.has_nothing_left:
            return {}
        if self.phase == VALIDATION:
            return original(*args, **kwargs)
        before_mj = self.session.used_mj() if self.session is not None else 0
        result = self.within(VALIDATION, original, *args, **kwargs)
        if self.session is not None:
            used_mj = self.session.used_mj() - before_mj
            self._validation_mj = max(self._validation_mj, used_mj)
        return result

    def validated(self, state: TrainerState, metrics: Mapping[str, Any]) -> None:
        """Note a validation's loss."""
        if not self.sees_evaluations:
            self.set_phase(self.training_phase)
        loss = metrics.get("eval_loss")
        if self.session is not None and isinstance(loss, int | float):
            self.session.progress(state.global_step, self._tokens, validation=float(loss))

    def saving(self, folder: Path, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Save a checkpoint, and note how long it takes."""
        began_s = time.monotonic()
        result = self.within(CHECKPOINT, original, *args, **kwargs)
        self._saved = folder, time.monotonic() - began_s
        return result

    def saved(self, args: TrainingArguments, state: TrainerState) -> None:
        """A checkpoint is there: leave the run's state in it, seal it, note it."""
        (folder, save_s), self._saved = self._saved or (usual_folder(args, state), 0.0), None
        if self.member.consensus is not None:
            # Every rank has written its part.
            self.member.consensus.barrier()
        if self.session is not None:
            self.within(CHECKPOINT, self._seal, self.session, folder, save_s, state.global_step)

    def _seal(self, session: RunSession, folder: Path, save_s: float, step: int) -> None:
        began_s = time.monotonic()
        try:
            ahead_mj = self._watch.remaining_need_mj if self._watch is not None else 0
            waited_ns = self.waited_until(session.clock.now_ns())
            kept = state_of(
                session, self._tokens, step=step, ahead_mj=ahead_mj, waited_ns=waited_ns
            )
            leave_state(folder, kept)
            size = size_of(folder)
        except OSError as error:
            session.record_gap(f"checkpoint at step {step}", f"{error.strerror or error}")
            return
        seconds = save_s + time.monotonic() - began_s
        why = self.stop.outcome.status if self.stop is not None else "periodic"
        session.checkpoint_saved(folder, step=step, size=size, seconds=seconds, why=why)

    def within(
        self, phase: str, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:  # fmt: skip
        """Call a method and book what it uses under a phase."""
        before = self.phase
        if phase in (VALIDATION, CHECKPOINT):
            self.disturbed = True
        shielded("phase", lambda: self.set_phase(phase), self.member.failed)
        try:
            return original(*args, **kwargs)
        finally:
            shielded("phase", lambda: self.set_phase(before), self.member.failed)

    def within_step(
        self, phase: str, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Book a part of a training step apart; in a validation it is validation."""
        if self.phase != self.training_phase:
            return original(*args, **kwargs)
        return self.within(phase, original, *args, **kwargs)
