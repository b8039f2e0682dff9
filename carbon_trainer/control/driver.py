"""The step machine: what happens at a step of a run, whichever framework trains it.

Frameworks differ in their hooks alone. A face (``callbacks/``) turns them into calls of one
``TrainingDriver``, and gives it through ``Face`` the few things that only a framework knows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

from carbon_trainer.control.actions import Action, Pause, Power, Stop
from carbon_trainer.control.budget import RECENT_STEPS, BudgetGuard
from carbon_trainer.control.decisions import propose
from carbon_trainer.control.face import Face
from carbon_trainer.control.metrics import EnergyMetrics, emissions_metrics
from carbon_trainer.control.pausing import PauseState, run_pause
from carbon_trainer.control.phases import TRAIN, Phases
from carbon_trainer.control.shifting import PlanController
from carbon_trainer.control.throttling import PowerController
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import Outcome, budget_reached

if TYPE_CHECKING:
    from carbon_trainer.config import RunConfig
    from carbon_trainer.control.communication import CommunicationProfiler
    from carbon_trainer.control.participant import RankContext
    from carbon_trainer.power.throttle import Mechanism
    from carbon_trainer.runs.session import RunSession


class TrainingDriver:
    """Drives one run through one training. On ranks other than 0 it has no session.

    Abilities are added by ``keep_budget``, ``throttle``, ``follow_plan`` and by setting
    ``communication``; without them it meters and records.

    Args:
        context: this process's part in the run.
        face: what only the framework knows.
        resumed: the state of the run's segment before, from ``state``; None for a new run.

    Attributes:
        session: the run's record; None on ranks that keep none.
        guard: the run's budget, on rank 0.
        power: turns power down; None where nothing does.
        plan: follows the plan, on rank 0; None without a deadline.
        communication: profiles steps for the share of communication, on rank 0.
        proposals: asked before all else for an action, on rank 0; None means going on.
        observers: called after each step, on every rank.
        pause: whether and how long training has paused.
        outcome: how training ends; None until that is decided.
        step: optimizer steps done.
        tokens: tokens trained on, all ranks and segments together.
        disturbed: whether something else than steps took place since the last one.
        training_phase: the phase that steps are recorded under.
        phases: the phases of training, and what they need.
    """

    def __init__(
        self, context: RankContext, face: Face, resumed: Mapping[str, Any] | None = None
    ) -> None:
        resumed = resumed or {}
        self.context = context
        self.face = face
        self.session: RunSession | None = context.session
        self.guard: BudgetGuard | None = None
        self.power: PowerController | None = None
        self.plan: PlanController | None = None
        self.communication: CommunicationProfiler | None = None
        self.proposals: list[Callable[[TrainingDriver], Action | None]] = []
        self.observers: list[Callable[[TrainingDriver], None]] = []
        self.pause = PauseState(int(resumed.get("waited_ns", 0)))
        self.outcome: Outcome | None = None
        self.step = int(resumed.get("step", 0))
        self.tokens = int(resumed.get("tokens", 0))
        self.disturbed = True
        self.training_phase = TRAIN
        self._need_before_mj = int(resumed.get("ahead_mj", 0))
        self._tokens_before = self.tokens
        self._steps = 0
        self._in_step = False
        self._disturbed_before_step = True
        self.phases = Phases(context.set_phase, self._used_mj)
        self._energy_metrics = EnergyMetrics()
        if self.session is not None:
            self.session.step, self.session.tokens = self.step, self.tokens

    # Abilities

    def keep_budget(self, parameters: int, recent_steps: int = RECENT_STEPS) -> None:
        """Keep the run's budget, where this rank records.

        Args:
            parameters: the model's, from which the time of a first checkpoint is estimated.
            recent_steps: how many of the last steps the next one is predicted from.
        """
        if self.session is not None:
            self.guard = BudgetGuard(self.session, parameters, recent_steps=recent_steps)

    def throttle(self, mechanism: Mechanism) -> PowerController:
        """Find out how power can be turned down here; on every rank."""
        self.power = PowerController(self.context.gpus, mechanism, self.session)
        return self.power

    def throttle_for_deadline(self, config: RunConfig) -> None:
        """Find out how power can be turned down, if a plan may ask for that; on every rank."""
        if config.deadline is not None and config.throttle != "off":
            self.throttle(config.throttle)

    def follow_plan(
        self,
        kind: Callable[[], Mapping[str, str | float | None]],
        *,
        round_steps: int = 1,
        executor: Executor | None = None,
        remeasure: bool = False,
    ) -> None:
        """Follow a plan, where this rank records and the run has a deadline.

        Args:
            kind: returns what decides power and speed; asked only where there is a plan.
            round_steps: steps after which their costs repeat.
            executor: where plans are made; a thread of its own by default.
            remeasure: measure power settings even where an earlier run has.
        """
        if self.session is None or self.session.config.deadline is None:
            return
        self.plan = PlanController(
            self.session,
            self.pause,
            kind(),
            self.power.throttle if self.power is not None else None,
            round_steps=round_steps,
            executor=executor,
            remeasure=remeasure,
        )

    # The life of a run

    def set_up(self, add_abilities: Callable[[], None]) -> Outcome | None:
        """Add the run's abilities, and find out whether it may begin; on every rank together.

        Args:
            add_abilities: adds them on this rank.

        Returns:
            Why not even a first step may be done, the same on every rank; None if it may.

        Raises:
            InputError: if a setting does not fit, on this rank or on rank 0.
        """
        consensus = self.context.consensus
        if self.context.process.rank == 0:
            try:
                add_abilities()
            except Exception as error:
                # The other ranks wait for this one, and must learn that the run will not begin.
                consensus.broadcast(str(error) or repr(error))
                raise
            consensus.broadcast("")
        else:
            refusal = consensus.broadcast("")
            if refusal:
                raise InputError(refusal)
            add_abilities()
        return self._check_start()

    def _check_start(self) -> Outcome | None:
        reason = None
        if self.guard is not None:
            reason = self.guard.reason_not_to_start(self._need_before_mj)
        reason = self.context.consensus.broadcast(reason)
        if reason is None:
            return None
        self.outcome = budget_reached(reason)
        if self.session is not None:
            self.session.request_stop(self.outcome)
        return self.outcome

    def begin(self, step: int) -> None:
        """Training starts, or resumes.

        Args:
            step: optimizer steps done before.
        """
        self.step = step
        if self.session is not None:
            self.session.step = step
        self.set_phase(self.training_phase)
        if self.context.process.is_on_gpu:
            self.mark_steps_on_gpu()

    def mark_steps_on_gpu(self) -> None:
        """Mark steps on the GPU: Python runs ahead of it, and a step is what the GPU does."""
        torch: Any = sys.modules.get("torch")
        if torch is not None and self.context.meter is not None:
            self.context.meter.mark_steps_on_gpu(partial(torch.cuda.Event, enable_timing=True))

    def step_begin(self) -> None:
        """A step starts; further micro-batches of it may call this too."""
        if self._in_step:
            return
        self._in_step = True
        if self.communication is not None:
            self.communication.begin(self.step + 1)
        if self.disturbed and self.guard is not None:
            self.guard.begin_step()
        self._disturbed_before_step, self.disturbed = self.disturbed, False
        if self.context.meter is not None:
            self.context.meter.step_begin()

    def step_end(self, step: int, tokens: int) -> None:
        """The optimizer has stepped: mark, count, exchange, and decide what comes next.

        Args:
            step: optimizer steps done.
            tokens: tokens trained on in this step, all ranks together.
        """
        was_disturbed = self._end_mark()
        profiled = self.communication is not None and self.communication.end(
            step, disturbed=was_disturbed or self._disturbed_before_step
        )
        # A profiled step takes longer than others: nothing is learned from it.
        is_unusual = profiled or was_disturbed
        self.context.exchange(step)
        self.count_step(step, tokens)
        if self.guard is not None:
            self.guard.end_step(disturbed=is_unusual)
        self.disturbed = is_unusual or self._disturbed_before_step
        for observe in self.observers:
            observe(self)
        if self.plan is not None:
            self.plan.step_end(disturbed=self.disturbed)
        if self.power is not None:
            self.power.step_end(disturbed=self.disturbed, has_signal=self.face.received_signal)
        self.disturbed = False
        self.decide()

    def step_abandon(self) -> None:
        """The step that is under way was left: end its mark, and count nothing."""
        self._end_mark()
        self.disturbed = True

    def count_step(self, step: int, tokens: int) -> None:
        """Count a step; ``step_end`` does so itself.

        Args:
            step: optimizer steps done.
            tokens: tokens trained on in this step, all ranks together.
        """
        self.step = step
        self.tokens += tokens
        self._steps += 1
        session = self.session
        if session is not None:
            session.step, session.tokens = step, self.tokens
            # Steps may differ in length; an interval's tokens are its steps times their mean.
            session.tokens_per_step = round((self.tokens - self._tokens_before) / self._steps)

    def decide(self) -> None:
        """Decide what comes next, and do it; the same on every rank."""
        if self.outcome is not None:
            return
        action = self._next_action()
        while isinstance(action, Pause):
            self.disturbed = True
            action = run_pause(action, self.pause, self.session, self.set_phase, self._next_action)
            self.set_phase(self.training_phase)
        if isinstance(action, Stop):
            self.stop(action.outcome, **action.figures)
        elif isinstance(action, Power) and self.power is not None:
            self.disturbed = True
            self.power.apply(action.power_fraction, action.mechanism)

    def stop(self, outcome: Outcome, **figures: Any) -> None:
        """Save a checkpoint and end training; to be called on every rank after the same step.

        Args:
            outcome: how the run's segment ends.
            figures: what was known when it was decided, for the record.
        """
        self.outcome = outcome
        if self.session is not None:
            self.session.request_stop(outcome, **figures)
        self.disturbed = True
        self.face.stop(outcome)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the run; plain types only."""
        session = self.session
        if session is None:
            return {}
        return {
            **session.checkpoint_state(),
            "step": self.step,
            "tokens": self.tokens,
            "waited_ns": self.pause.total_ns(session.clock.now_ns()),
            "ahead_mj": self.guard.remaining_need_mj if self.guard is not None else 0,
        }

    def close(self, error: BaseException | None) -> RunSession | None:
        """Training is over, in whatever way: restore power, leave other ranks, close the run.

        Args:
            error: what ended training; None if it ended in an orderly way.

        Returns:
            The session that was closed, if it was opened here.
        """
        if self.communication is not None:
            self.communication.close()
        if self.plan is not None:
            self.plan.close()
        if self.power is not None:
            self.power.close()
        return self.context.close(error)

    # Phases

    def phase_begin(self, name: str) -> None:
        """Record under a phase from here on, until ``phase_end``."""
        self.disturbed = True
        self.phases.begin(name)

    def phase_end(self) -> None:
        """Record under the phase before again; a budget keeps room for another such phase."""
        self.disturbed = True
        self.phases.end()

    def set_phase(self, name: str) -> None:
        """Record what is used from now on under a phase."""
        self.phases.switch(name)

    # Figures

    def is_log_due(self, step: int) -> bool:
        """Whether figures are recorded after this step."""
        session = self.session
        return session is not None and (step == 1 or step % session.config.log_every == 0)

    def record_progress(self, loss: float | None = None, validation: float | None = None) -> None:
        """Record how far training has come, with the losses that are known."""
        if self.session is not None:
            self.session.progress(self.step, self.tokens, loss=loss, validation=validation)

    def metrics(self) -> dict[str, float]:
        """Return all figures of the run for a logger, names with units; none on other ranks."""
        if self.session is None:
            return {}
        metrics = {**self._energy_metrics.of(self.session), **emissions_metrics(self.session)}
        for ability in (self.guard, self.communication):
            if ability is not None:
                metrics.update(ability.metrics())
        return metrics

    # Inside

    def _used_mj(self) -> int:
        return self.session.used_mj(upper=True) if self.session is not None else 0

    def _end_mark(self) -> bool:
        """Mark the end of the step under way; return whether something disturbed it."""
        if self._in_step and self.context.meter is not None:
            self.context.meter.step_end()
        self._in_step = False
        return self.disturbed

    def _next_action(self) -> Action | None:
        """Return what is to be done now, the same on every rank; None for going on."""
        consensus = self.context.consensus
        if not consensus.is_shared:
            return propose(self, self.face.received_signal())[0]
        if not (self.pause.is_paused or consensus.is_due(self.step)):
            return None
        signal_number = consensus.max_signal(self.face.received_signal())
        return consensus.broadcast_decision(partial(propose, self, signal_number), self.step)
