"""CarbonAwareCallback: meter, budget, schedule and report for transformers.Trainer and TRL's."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from carbon_trainer.callbacks.huggingface.arguments import (
    first_validation_mj,
    kind_of,
    process_of,
    recent_steps,
    round_steps,
    saved_parameters,
    usual_folder,
)
from carbon_trainer.callbacks.huggingface.driver import CLOSING, VALIDATION, TrainerRun
from carbon_trainer.callbacks.huggingface.hooks import TrainerHooks, running_trainer
from carbon_trainer.callbacks.huggingface.state import read_state
from carbon_trainer.config import RunConfig, unknown_setting
from carbon_trainer.control.budget import BudgetGuard
from carbon_trainer.control.failures import shielded
from carbon_trainer.control.participant import RankContext
from carbon_trainer.control.report import FORMATS, leave_report
from carbon_trainer.control.shifting import PlanController
from carbon_trainer.control.throttling import PowerController
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import Outcome, ResumePoint, budget_reached

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from carbon_trainer.power.throttle import Mechanism
    from carbon_trainer.runs.session import RunSession


class CarbonAwareCallback(TrainerCallback):
    """Meters, budgets, shifts and reports the training of a transformers Trainer or a TRL trainer.

    Only world process zero records.

    Args:
        budget_kwh: most energy, all segments of the run together, times PUE.
        budget_kgco2e: most emissions.
        budget_cost: most money; needs ``price_per_kwh``.
        price_per_kwh: price of electricity.
        currency: its currency.
        zone: ISO country code or US state; None takes the world average, as assumed.
        pue: power usage effectiveness of the building.
        on_meter_loss: ``stop`` or ``estimate`` when energy can no longer be known.
        deadline: when the run must be done, ``3d`` or an instant; with it the run is shifted and
            throttled.
        objective: what the schedule makes least: ``carbon``, ``cost`` or ``blend``.
        carbon_price: price of a tonne of CO2e, for ``blend``.
        provider: whom to ask for the zone's intensity by the hour; its usual course by default.
        trace: a CSV of the grid's intensity, instead.
        max_wait: longest wait in all, such as ``6h``.
        release: ``yes`` to save, stop and leave it to somebody to start the run again, where that
            is better than to wait; ``outcome.exit_status`` is 75 then.
        throttle: how power is turned down: ``auto``, ``power-limit``, ``clocks``, ``duty-cycle``
            or ``off``; only with a deadline.
        name: the run's name, for people.
        project: the project that it belongs to.
        runs_dir: folder of runs and their reports.
        ledger: a file's path or a database URL.
        host_metering: meter CPU and memory too, through CodeCarbon.
        log_every: optimizer steps between recorded figures, beside those that the trainer logs.
        formats: which reports to write at the end, of ``html``, ``md`` and ``json``.
        session: a run that somebody else opened and will close; None to open one for each
            ``train``.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where a run before has.
        others: refused: what does not exist.

    Raises:
        InputError: if a setting does not fit.
    """

    def __init__(
        self,
        *,
        budget_kwh: float | None = None,
        budget_kgco2e: float | None = None,
        budget_cost: float | None = None,
        price_per_kwh: float | None = None,
        currency: str | None = None,
        zone: str | None = None,
        pue: float | None = None,
        on_meter_loss: str | None = None,
        deadline: str | None = None,
        objective: str | None = None,
        carbon_price: float | None = None,
        provider: str | None = None,
        trace: str | Path | None = None,
        max_wait: str | None = None,
        release: str | None = None,
        throttle: Mechanism | None = None,
        name: str | None = None,
        project: str | None = None,
        runs_dir: str | Path | None = None,
        ledger: str | None = None,
        host_metering: bool | None = None,
        log_every: int | None = None,
        formats: Sequence[str] = FORMATS,
        session: RunSession | None = None,
        executor: Executor | None = None,
        remeasure: bool = False,
        **others: Any,
    ) -> None:
        if others:
            raise InputError(f"CarbonAwareCallback: {unknown_setting(next(iter(others)))}")
        settings = {
            "budget_kwh": budget_kwh, "budget_kgco2e": budget_kgco2e, "budget_cost": budget_cost,
            "price_per_kwh": price_per_kwh, "currency": currency, "zone": zone, "pue": pue,
            "on_meter_loss": on_meter_loss, "deadline": deadline, "objective": objective,
            "carbon_price": carbon_price, "provider": provider, "trace": trace,
            "max_wait": max_wait, "release": release, "throttle": throttle, "name": name,
            "project": project, "runs_dir": runs_dir, "ledger": ledger,
            "host_metering": host_metering, "log_every": log_every,
        }  # fmt: skip
        given = {key: value for key, value in settings.items() if value is not None}
        self._config = RunConfig.from_sources((type(self).__name__, given))
        self._formats = tuple(formats)
        self._given = session
        self._executor = executor
        self._anew = remeasure
        self._run: TrainerRun | None = None
        self._hooks: TrainerHooks | None = None
        self._again: ResumePoint | None = None
        self._unseen: weakref.finalize[Any, Any] | None = None
        self.outcome: Outcome | None = None
        self.run_dir: Path | None = None

    # The trainer's hooks

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        model: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Open the run, or go on with that of the checkpoint.

        Raises:
            InputError: if a setting does not fit what is there, or the checkpoint is damaged.
            LedgerError: if the ledger cannot be used.
        """
        self._close_unseen()
        trainer, checkpoint = running_trainer(state)
        if self._config.has_budget and args.eval_on_start:
            raise InputError(
                "a budget cannot be kept with eval_on_start: what a validation uses is not known "
                "before the first step. Remove one of them."
            )
        self._open(args, state, control, model, _checkpoint_of(args, state, checkpoint))
        run = self._run
        if run is None:
            return
        self._schedule(run, type(trainer).__name__, args, model)
        if trainer is None:
            why = "no transformers.Trainer was found around this callback, so validations are "
            run.note("phases", f"{why}booked from their first batch on, and checkpoints as train")
        else:
            self._hooks = TrainerHooks(trainer, run, self._fail)
            run.first_validation = lambda next_mj: first_validation_mj(trainer, next_mj)
        run.begin(args, state)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After a stop, evaluate and save nothing more."""
        self._tell("epoch_end", control)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark the beginning of an optimizer step."""
        self._tell("step_begin")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Mark its end, and stop if the budget asks for it."""
        self._tell("step_end", args, state, control)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Book as validation, where nothing has told of it before."""
        run = self._run
        if run is not None and not run.sees_evaluations:
            self._tell("set_phase", VALIDATION)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        metrics: dict[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Note the validation's loss."""
        self._tell("validated", state, metrics or {})

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Note the loss; add our figures where the trainer's own log could not have them."""
        if logs is not None:
            self._tell("add_figures", logs)
            self._tell("logged", state, logs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the run's state in the checkpoint, and seal it."""
        self._tell("saved", args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the run and leave its report."""
        self._tell("set_phase", CLOSING)
        self._close(None)

    # Inside

    def _tell(self, event: str, *args: Any) -> None:
        """Pass an event on; our own bug never ends the user's training."""
        run = self._run
        if run is not None:
            shielded(event, lambda: getattr(run, event)(*args), run.member.failed)

    def _open(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any,
        checkpoint: Path | None,
    ) -> None:  # fmt: skip
        again, self._again = self._again, None
        kept = (read_state(checkpoint) if checkpoint is not None else None) or {}
        place = process_of(args)
        if place.rank != 0:
            self._run = run = TrainerRun(
                RankContext.join_as_worker(self._config, place), None, args, 0
            )
            self._pace(run)
            return
        resume = again
        if kept:
            run_id, energy_mj = str(kept["run_id"]), int(kept["energy_mj"])
            resume = ResumePoint(run_id, str(checkpoint), state.global_step, energy_mj)
        member = RankContext.open_on_rank_zero(self._config, place, resume, self._given)
        session = member.session
        if session is None:
            return
        watch = BudgetGuard(session, saved_parameters(model), recent_steps=recent_steps(args))
        tokens, waited_ns = int(kept.get("tokens", 0)), int(kept.get("waited_ns", 0))
        self._run = run = TrainerRun(member, watch, args, tokens, waited_ns)
        self._pace(run)
        self.outcome, self.run_dir = None, session.run_dir
        if self._given is None:
            self._unseen = weakref.finalize(self, _close_at_exit, member, run.pacer, self._formats)
        reason = watch.reason_not_to_start(int(kept.get("ahead_mj", 0)))
        if reason is not None:
            session.request_stop(budget_reached(reason))
            run.has_nothing_left = control.should_training_stop = True

    def _pace(self, run: TrainerRun) -> None:
        """Find out by what power can be turned down, where there is a schedule."""
        config = run.session.config if run.session is not None else self._config
        if config.deadline is not None and config.throttle != "off":
            run.pacer = PowerController(run.member.gpus, config.throttle, run.session)

    def _schedule(self, run: TrainerRun, trainer: str, args: TrainingArguments, model: Any) -> None:
        """Learn what has to be kept."""
        session = run.session
        if session is None or session.config.deadline is None:
            return
        run.shifter = PlanController(
            run,
            session,
            kind_of(trainer, args, model),
            run.pacer.throttle if run.pacer is not None else None,
            round_steps=round_steps(args),
            executor=self._executor,
            anew=self._anew,
        )

    def _fail(self, error: BaseException) -> None:
        run = self._run
        if run is not None and run.session is not None and run.retries(error):
            # The trainer begins again with smaller batches: it is the same run.
            self._again = ResumePoint(run.session.run_id, None, 0, run.session.used_mj())
        self._close(error)

    def _close(self, error: BaseException | None) -> None:
        """Close the run, and put the trainer's methods back."""
        run, self._run = self._run, None
        hooks, self._hooks = self._hooks, None
        unseen, self._unseen = self._unseen, None
        if hooks is not None:
            hooks.release()
        if unseen is not None:
            unseen.detach()
        if run is None:
            return
        shielded("end", lambda: self._end(run, error), run.member.failed)

    def _end(self, run: TrainerRun, error: BaseException | None) -> None:
        run.leave()
        closed = run.member.close(error)
        stopped = run.stop.outcome if run.stop is not None else None
        self.outcome = run.session.outcome if run.session is not None else stopped
        if closed is not None:
            leave_report(closed, self._formats)

    def _close_unseen(self) -> None:
        """Close a run whose end nobody has told of, before another begins."""
        if self._run is not None:
            self._close(RuntimeError("training ended without telling its callbacks"))


def _close_at_exit(
    member: RankContext, pacer: PowerController | None, formats: Sequence[str]
) -> None:
    if pacer is not None:
        pacer.close()
    closed = member.close(RuntimeError("the process ended before training did"))
    if closed is not None:
        leave_report(closed, formats)


def _checkpoint_of(
    args: TrainingArguments, state: TrainerState, told: str | None
) -> Path | None:  # fmt: skip
    if told is not None:
        return Path(told)
    return usual_folder(args, state) if state.global_step > 0 else None
