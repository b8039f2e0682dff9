"""CarbonAwareCallback: meter, budget, schedule and report for transformers.Trainer and TRL's."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from transformers import TrainerCallback

from carbon_trainer.callbacks.huggingface.arguments import (
    kind_of,
    process_of,
    recent_steps,
    round_steps,
    saved_parameters,
    usual_folder,
    validation_steps,
)
from carbon_trainer.callbacks.huggingface.driver import HuggingFaceDriver
from carbon_trainer.callbacks.huggingface.face import HuggingFaceFace
from carbon_trainer.callbacks.huggingface.hooks import TrainerHooks, running_trainer
from carbon_trainer.callbacks.huggingface.state import read_state
from carbon_trainer.config import RunSettings, config_from_settings
from carbon_trainer.control.communication import profiler_for
from carbon_trainer.control.driver import TrainingDriver
from carbon_trainer.control.failures import outcome_of, shielded
from carbon_trainer.control.participant import RankContext
from carbon_trainer.control.report import FORMATS, leave_report
from carbon_trainer.errors import InputError
from carbon_trainer.live.server import LiveServer
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint
from carbon_trainer.runs.signals import HeldSignals

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from carbon_trainer.runs.session import RunSession


class CarbonAwareCallback(TrainerCallback):
    """Meters, budgets, shifts and reports the training of a transformers Trainer or a TRL trainer.

    Only world process zero records.

    Args:
        formats: which reports to write at the end, of ``html``, ``md`` and ``json``.
        session: a run that somebody else opened and will close; None to open one for each
            ``train``.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where a run before has.
        settings: budgets, grid, schedule and record, named as in RunConfig: see RunSettings.
            Power is turned down only with a deadline. With ``release="yes"`` the run may save and
            stop, to be started again, where that is better than to wait; ``outcome.exit_status``
            is 75 then.

    Raises:
        InputError: if a setting is unknown or does not fit.
    """

    def __init__(
        self,
        *,
        formats: Sequence[str] = FORMATS,
        session: RunSession | None = None,
        executor: Executor | None = None,
        remeasure: bool = False,
        **settings: Unpack[RunSettings],
    ) -> None:
        self._config = config_from_settings("CarbonAwareCallback", settings)
        self._formats = tuple(formats)
        self._given_session = session
        self._executor = executor
        self._remeasure = remeasure
        self._signals = HeldSignals()
        self._run: HuggingFaceDriver | None = None
        self._hooks: TrainerHooks | None = None
        self._server: LiveServer | None = None
        self._retried: ResumePoint | None = None
        self._at_exit: weakref.finalize[Any, Any] | None = None
        self.outcome: Outcome | None = None
        self.run_dir: Path | None = None

    # The trainer's hooks

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        model: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Open the run, or resume that of the checkpoint.

        Raises:
            InputError: if a setting does not fit what is there, or the checkpoint is damaged.
            LedgerError: if the ledger cannot be used.
        """
        self._close_unended()
        trainer, checkpoint = running_trainer(state)
        if self._config.has_budget and args.eval_on_start:
            raise InputError(
                "a budget cannot be kept with eval_on_start: what a validation uses is not known "
                "before the first step. Remove one of them."
            )
        run = self._open(args, state, control, _checkpoint_of(args, state, checkpoint))
        if trainer is None:
            why = "no transformers.Trainer was found around this callback, so validations are "
            run.note("phases", f"{why}recorded from their first batch on, and checkpoints as train")
        else:
            self._hooks = TrainerHooks(trainer, run, self._fail)
            run.face.validation_steps = partial(validation_steps, weakref.ref(trainer))
        add_abilities = partial(self._add_abilities, run, type(trainer).__name__, args, model)
        try:
            refusal = run.driver.set_up(add_abilities)
        except Exception as error:
            self._close(error)
            raise
        if refusal is not None:
            run.has_nothing_left = control.should_training_stop = True
        run.driver.begin(state.global_step)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After a stop, evaluate and save nothing more."""
        self._pass_on("epoch_end", control)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark the beginning of an optimizer step."""
        self._pass_on("step_begin")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark its end, and do what is decided."""
        self._pass_on("step_end", state, control)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record as validation, where its beginning was not seen."""
        self._pass_on("prediction_step")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        metrics: dict[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Record the validation's loss."""
        self._pass_on("validated", metrics or {})

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Record the loss; add our figures where the trainer's own log could not have them."""
        if logs is not None:
            self._pass_on("add_metrics", logs)
            self._pass_on("record_logged", logs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the run's state in the checkpoint, and seal it."""
        self._pass_on("saved", state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the run and leave its report; then deliver a signal that training has held."""
        self._pass_on("train_end")
        self._close(None)
        self._signals.release()

    # Inside

    def _pass_on(self, event: str, *args: Any) -> None:
        """Pass an event on; our own bug never ends the user's training."""
        run = self._run
        if run is not None:
            shielded(event, lambda: getattr(run, event)(*args), run.fail)

    def _open(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        checkpoint: Path | None,
    ) -> HuggingFaceDriver:  # fmt: skip
        retried, self._retried = self._retried, None
        state_before = (read_state(checkpoint) if checkpoint is not None else None) or {}
        resume = retried
        if state_before:
            run_id, energy_mj = str(state_before["run_id"]), int(state_before["energy_mj"])
            resume = ResumePoint(run_id, str(checkpoint), state.global_step, energy_mj)
        context = RankContext.open(self._config, process_of(args), resume, self._given_session)
        face = HuggingFaceFace(args, state, control, self._signals)
        self._run = run = HuggingFaceDriver(context, face, args, state_before)
        self.outcome, self.run_dir = None, None
        if context.session is not None:
            self.run_dir = context.session.run_dir
        if context.session is not None and self._given_session is None:
            self._at_exit = weakref.finalize(self, _close_at_exit, run.driver, self._formats)
        self._signals.hold()
        return run

    def _add_abilities(
        self, run: HuggingFaceDriver, trainer: str, args: TrainingArguments, model: Any
    ) -> None:
        """Add what the settings ask for to the driver: the same as Lightning's callbacks do."""
        driver, session = run.driver, run.session
        config = session.config if session is not None else self._config
        driver.throttle_for_deadline(config)
        if session is None:
            return
        driver.keep_budget(saved_parameters(model), recent_steps(args))
        driver.communication = profiler_for(session, driver.context.process)
        if config.prometheus_port is not None:
            self._server = LiveServer.start(session, config.prometheus_port)
        driver.follow_plan(
            partial(kind_of, trainer, args, model),
            round_steps=round_steps(args),
            executor=self._executor,
            remeasure=self._remeasure,
        )

    def _fail(self, error: BaseException) -> None:
        run = self._run
        if run is not None and run.session is not None and run.retries(error):
            # The trainer begins again with smaller batches: it is the same run.
            self._retried = ResumePoint(run.session.run_id, None, 0, run.session.used_mj())
        self._close(error)
        self._signals.release()

    def _close(self, error: BaseException | None) -> None:
        """Close the run, and put the trainer's methods back."""
        run, self._run = self._run, None
        hooks, self._hooks = self._hooks, None
        at_exit, self._at_exit = self._at_exit, None
        server, self._server = self._server, None
        if hooks is not None:
            hooks.release()
        if at_exit is not None:
            at_exit.detach()
        if run is not None:
            shielded("end", lambda: self._end(run, error), run.fail)
        if server is not None:
            server.stop()

    def _end(self, run: HuggingFaceDriver, error: BaseException | None) -> None:
        closed = run.driver.close(error)
        outcome = run.session.outcome if run.session is not None else run.driver.outcome
        self.outcome = outcome or (FINISHED if error is None else outcome_of(error))
        if closed is not None:
            leave_report(closed, self._formats)

    def _close_unended(self) -> None:
        """Close a run whose end no hook has reported, before another begins."""
        if self._run is not None:
            self._close(RuntimeError("training ended without calling its callbacks"))


def _close_at_exit(driver: TrainingDriver, formats: Sequence[str]) -> None:
    closed = driver.close(RuntimeError("the process ended before training did"))
    if closed is not None:
        leave_report(closed, formats)


def _checkpoint_of(
    args: TrainingArguments, state: TrainerState, path: str | None
) -> Path | None:  # fmt: skip
    if path is not None:
        return Path(path)
    return usual_folder(args, state) if state.global_step > 0 else None
