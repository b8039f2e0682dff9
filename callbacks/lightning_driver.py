"""The lead turns Lightning's hooks into calls on the run's session, for all parts at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from carbon_trainer.callbacks.checkpoint import save_checkpoint
from carbon_trainer.config import RunConfig
from carbon_trainer.control.actions import Action, Power, Stop
from carbon_trainer.control.participant import RankContext, state_of
from carbon_trainer.control.pausing import TRAIN, Driver, run_pause
from carbon_trainer.data.shares import share_of
from carbon_trainer.distributed.consensus import Consensus
from carbon_trainer.distributed.process import ProcessRank
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import Outcome, ResumePoint
from carbon_trainer.runs.session import RunSession

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.callbacks.base import CarbonCallback
    from carbon_trainer.callbacks.communication import StepWatch

log = logging.getLogger(__name__)

VALIDATION_LOSS_NAMES = ("validation/loss", "val_loss", "val/loss", "valid_loss", "validation_loss")
"""Where a module may have logged its validation loss; the first that is there is recorded."""


class Lead(Driver):
    """Drives one run through one ``fit``. On ranks other than 0 it has no session."""

    def __init__(self, member: RankContext, parts: Sequence[CarbonCallback]) -> None:
        super().__init__(member.session)
        self._member = member
        self._session = session = member.session
        # The machine's meter: the session's, or on another machine one without a session.
        self._meter = member.meter
        self.signal = 0
        self.ahead_mj = 0
        self.outcome: Outcome | None = None
        self.parts = parts
        self.watch: StepWatch | None = None
        self.validation_mj = 0
        self._log_every = session.config.log_every if session else 0
        self._last_step = 0
        self._in_step = False
        self._loss_sum: torch.Tensor | None = None
        self._loss_steps = 0
        self._tokens = session.tokens if session else 0
        self._tokens_at_step = 0
        self._limit_val_batches: float | int | None = None
        self._before_validation_mj = 0

    @classmethod
    def open(cls, trainer: Trainer, members: Sequence[CarbonCallback]) -> Lead:
        """Open the run, or take the session that a member was given.

        Raises:
            InputError: if the members' settings do not fit together.
        """
        parts = [part for member in members for part in member.parts]
        given = next((m.given_session for m in members if m.given_session is not None), None)
        state = next((m.resumed_state for m in members if m.resumed_state), None)
        resume = _resume_point(state, trainer)
        member = RankContext.open_on_rank_zero(
            _merged_settings(parts), process_of(trainer), resume, given
        )
        lead = cls(member, parts)
        if state:
            lead._tokens = lead.session.tokens = int(state["tokens"])
            lead.waited_ns = int(state.get("waited_ns", 0))
            lead.ahead_mj = int(state.get("ahead_mj", 0))
        try:
            for part in parts:
                part.joined(lead, trainer)
            for part in parts:
                part.began(lead, trainer)
        except Exception as error:
            # The other ranks wait for this one, and have to hear that it will not begin.
            member.consensus.broadcast((str(error) or repr(error), False))
            lead.close(trainer, error)
            raise
        member.consensus.broadcast(("", trainer.should_stop))
        return lead

    @classmethod
    def follower(cls, trainer: Trainer, members: Sequence[CarbonCallback]) -> Lead:
        """Stand in on a rank other than 0: takes part in decisions, records nothing.

        The first rank of another machine meters that machine.

        Raises:
            InputError: if rank 0 could not begin.
        """
        parts = [part for member in members for part in member.parts]
        member = RankContext.join_as_worker(_merged_settings(parts), process_of(trainer))
        lead = cls(member, parts)
        refusal, trainer.should_stop = member.consensus.broadcast(("", False))
        if refusal:
            member.close(None)
            raise InputError(refusal)
        for part in parts:
            part.joined(lead, trainer)
        return lead

    @property
    def records(self) -> bool:
        """Whether this process keeps the run's record."""
        return self._session is not None

    @property
    def session(self) -> RunSession:
        """The run's session; only where ``records``."""
        if self._session is None:
            raise RuntimeError("only rank 0 has a session")
        return self._session

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """UUIDs of the GPUs that this rank meters and sets; None for all that it may use.

        Empty on a rank whose machine another rank looks after.
        """
        return self._member.gpus

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must carry of the run; plain types only."""
        if self._session is None:
            return {}
        session = self._session
        waited_ns = self.waited_until(session.clock.now_ns())
        ahead_mj = max(part.ahead_mj for part in self.parts)
        return state_of(session, self._tokens, waited_ns=waited_ns, ahead_mj=ahead_mj)

    # Events

    def train_start(self, trainer: Trainer) -> None:
        """Training starts, anew or again."""
        self._last_step = trainer.global_step
        if self._session:
            self._session.step = trainer.global_step
        self.set_phase(TRAIN)
        if self._meter is not None and trainer.strategy.root_device.type == "cuda":
            # Python runs ahead of the GPU: a step is what the GPU does, not what is launched.
            self._meter.mark_steps_on_gpu(partial(torch.cuda.Event, enable_timing=True))

    def batch_start(self) -> None:
        """A micro-batch starts; the first of a step begins it."""
        if not self._in_step and self._meter is not None:
            self._in_step = True
            if self.watch is not None:
                self.watch.begin(self._last_step + 1)
            self._meter.step_begin()

    def batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """A micro-batch has ended; a step too if the optimizer has stepped."""
        if self._session is not None:
            self._count(trainer, module, outputs, batch)
        step = trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        if self._in_step and self._meter is not None:
            self._meter.step_end()
            self._in_step = False
        if self.watch is not None and self.watch.end(step, disturbed=self.disturbed):
            self.disturbed = True
        self._member.exchange(step)
        if self._session is not None:
            self._step_done(self._session, trainer, step)
        for part in self.parts:
            part.step_done(self, trainer, batch_index)
        self.disturbed = False
        action = self._decided(trainer, batch_index)
        if action is not None:
            self._obey(trainer, action, batch_index)

    def validation_start(self) -> None:
        """A validation starts."""
        self.disturbed = True
        if self._session is not None:
            self._before_validation_mj = self._session.used_mj()
        self.set_phase("validation")

    def validation_end(self, trainer: Trainer) -> None:
        """A validation has ended; its loss is known."""
        self.set_phase(TRAIN)
        session = self._session
        if session is None:
            return
        used_mj = session.used_mj() - self._before_validation_mj
        self.validation_mj = max(self.validation_mj, used_mj)
        loss = next(
            (
                trainer.callback_metrics[n]
                for n in VALIDATION_LOSS_NAMES
                if n in trainer.callback_metrics
            ),
            None,
        )
        value = float(loss) if loss is not None else None
        session.progress(trainer.global_step, self._tokens, validation=value)

    def train_end(self, trainer: Trainer) -> None:
        """Training has ended: write the last figures down."""
        self.set_phase("closing")
        if self._session is not None:
            self._log_point(self._session, trainer)

    def stop(self, trainer: Trainer, outcome: Outcome, **figures: Any) -> None:
        """Save a checkpoint at this step boundary and end training, on every rank.

        Lightning would validate once more before it ends, and on an epoch's last batch would
        count the epoch as done; both are why the checkpoint is saved first.
        """
        self.outcome = outcome
        if self._session is not None:
            self._session.request_stop(outcome, **figures)
        self.save(trainer, outcome.status)
        self._limit_val_batches = trainer.limit_val_batches
        trainer.limit_val_batches = 0
        trainer.should_stop = True

    def save(self, trainer: Trainer, why: str) -> None:
        """Save a checkpoint; a full disk is said, not raised."""
        self.disturbed = True
        save_checkpoint(trainer, self._session, why)

    def failed(self, event: str, error: Exception) -> None:
        """Something of ours broke: the record says so, and a budget no longer holds."""
        self._member.failed(event, error)

    def close(self, trainer: Trainer, exception: BaseException | None) -> None:
        """Close the run if it is ours, and have the parts do what comes after."""
        if self._limit_val_batches is not None:
            trainer.limit_val_batches = self._limit_val_batches
        for part in self.parts:
            part.left()
        session = self._member.close(exception)
        if session is not None:
            for part in self.parts:
                part.closed(session)

    # Inside

    def _decided(self, trainer: Trainer, batch_index: int) -> Action | None:
        """Return what is to be done now, the same on every rank; None for going on."""
        agreement, step = self._member.consensus, trainer.global_step
        if not (self.waiting or agreement.is_due(step)):
            return None
        self.signal = agreement.max_signal(max((part.signal() for part in self.parts), default=0))
        decide = partial(self._proposed, trainer, batch_index, agreement)
        return agreement.broadcast_decision(decide, step)

    def _proposed(
        self, trainer: Trainer, batch_index: int, agreement: Consensus
    ) -> tuple[Action | None, int]:
        """Ask the parts, on rank 0; what breaks is ours, and never leaves other ranks waiting."""
        now_ns = self.session.clock.now_ns()
        try:
            self.session.follow_intensity()
            asked = (part.propose(self, trainer, batch_index) for part in self.parts)
            action = next((one for one in asked if one is not None), None)
            steps = 1 if self.waiting else agreement.steps_until_next(trainer.global_step, now_ns)
            for part in self.parts:
                steps = part.most_steps(self, trainer, steps)
        except Exception as error:
            if not agreement.is_shared:
                raise
            log.debug("deciding", exc_info=True)
            self.failed("decision", error)
            return None, 1
        return action, steps

    def _obey(self, trainer: Trainer, action: Action, batch_index: int) -> None:
        def ended() -> str | None:
            # Lightning noted it, and ends training after the batch.
            return "SIGTERM" if trainer.world_size == 1 and trainer.received_sigterm else None

        action = run_pause(self, action, lambda: self._decided(trainer, batch_index), ended)
        if isinstance(action, Stop):
            self.stop(trainer, action.outcome, **action.figures)
        elif isinstance(action, Power):
            self.disturbed = True
            for part in self.parts:
                part.power(self, action.power_fraction, action.mechanism)

    def set_phase(self, name: str) -> None:
        """Book what is used from now on under a phase."""
        self._member.set_phase(name)

    def _count(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        # Every share of the data has batches of the same size.
        self._tokens_at_step += tokens_in(module, batch) * share_of(trainer).count
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, torch.Tensor):
            # Summed on the device: reading it each step would make the GPU wait for Python.
            loss = loss.detach()
            self._loss_sum = loss if self._loss_sum is None else self._loss_sum + loss

    def _step_done(self, session: RunSession, trainer: Trainer, step: int) -> None:
        self._tokens += self._tokens_at_step
        session.tokens_per_step = self._tokens_at_step
        self._tokens_at_step = 0
        self._loss_steps += 1
        session.step, session.tokens = step, self._tokens
        if step % self._log_every == 0 or step == 1:
            self._log_point(session, trainer)

    def _log_point(self, session: RunSession, trainer: Trainer) -> None:
        if self._loss_steps == 0:
            return
        loss = None if self._loss_sum is None else float(self._loss_sum) / self._loss_steps
        self._loss_sum, self._loss_steps = None, 0
        session.progress(trainer.global_step, self._tokens, loss=loss)
        if trainer.loggers:
            metrics: dict[str, float] = {}
            for part in self.parts:
                metrics.update(part.metrics(session))
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=trainer.global_step)


def tokens_in(module: LightningModule, batch: Any) -> int:
    """Return how many tokens a batch has: the module knows, or it has ``input_ids``; else 0."""
    count = getattr(module, "tokens_in", None)
    if callable(count):
        return int(count(batch))
    if isinstance(batch, Mapping) and isinstance(batch.get("input_ids"), torch.Tensor):
        return int(batch["input_ids"].numel())
    return 0


def process_of(trainer: Trainer) -> ProcessRank:
    """Return where a trainer's process stands among its others."""
    node, device = f"node{trainer.node_rank}", trainer.strategy.root_device
    return ProcessRank(trainer.global_rank, trainer.world_size, node, device)


def _merged_settings(parts: Sequence[CarbonCallback]) -> RunConfig:
    merged: dict[str, tuple[Any, str]] = {}
    for part in parts:
        name = type(part).__name__
        for key, value in part.settings.items():
            if key in merged and merged[key][0] != value:
                other_value, other = merged[key]
                raise InputError(
                    f"{other} and {name} disagree about {key}: {other_value!r} and {value!r}."
                )
            merged[key] = (value, name)
    return RunConfig.from_sources(("callbacks", {key: value for key, (value, _) in merged.items()}))


def _resume_point(state: dict[str, Any] | None, trainer: Trainer) -> ResumePoint | None:
    if state is None:
        return None
    return ResumePoint(
        run_id=str(state["run_id"]),
        checkpoint=str(trainer.ckpt_path or "a checkpoint"),
        step=trainer.global_step,
        energy_mj=int(state["energy_mj"]),
    )
