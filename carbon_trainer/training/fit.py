"""The main job: open a run, prepare its data and model, train, close."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console

from carbon_trainer.config import ResolvedConfig
from carbon_trainer.control.budget import Budget
from carbon_trainer.live.server import LiveServer
from carbon_trainer.models.build import end_token_warning
from carbon_trainer.models.export import FOLDER as MODEL_FOLDER
from carbon_trainer.runs.lifetime import RunStopped, run_recorded
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint, budget_reached
from carbon_trainer.runs.session import RunSession
from carbon_trainer.runs.signals import Interrupts
from carbon_trainer.training.description import describe_data, describe_model, record_estimate
from carbon_trainer.training.setup import (
    build_module,
    check_memory,
    check_memory_early,
    devices_and_nodes,
    prepare_data,
)

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData
    from carbon_trainer.models.module import TransformerModule

log = logging.getLogger(__name__)

Session: TypeAlias = RunSession[ResolvedConfig]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How the job ended and what it left.

    Attributes:
        run_id: the run.
        outcome: how its last segment ended.
        run_dir: its folder.
        session: the closed session, for reading its ledger.
    """

    run_id: str
    outcome: Outcome
    run_dir: Path
    session: Session


def fit(
    config: ResolvedConfig,
    *,
    console: Console,
    interrupts: Interrupts,
    resume: ResumePoint | None = None,
    run_id: str | None = None,
    remeasure: bool = False,
) -> FitResult:
    """Train as the config says, meter it and keep its budget.

    Args:
        config: the settings.
        console: where progress is shown.
        interrupts: where signals are noted.
        resume: where to resume; None for a new run.
        run_id: the id of a new run; a new one by default.
        remeasure: only measure power settings.

    Raises:
        InputError: if something that the user gave cannot be used.
    """
    with _live_server(config) as server:
        session, _ = run_recorded(
            partial(RunSession.open, config, resume=resume, run_id=run_id),
            lambda session: _Job(session, console, interrupts, resume, remeasure).run(server),
            interrupts,
            when=_part_of_the_job,
        )
    return FitResult(session.run_id, session.outcome or FINISHED, session.run_dir, session)


def _live_server(config: ResolvedConfig) -> AbstractContextManager[LiveServer | None]:
    """Take the port before anything is recorded, so that a taken one is bad input."""
    return nullcontext() if config.prometheus_port is None else LiveServer(config.prometheus_port)


def _part_of_the_job(session: Session) -> str:
    return "in training" if session.step else "before training"


@dataclass(frozen=True, slots=True)
class _Job:
    """What is done while the run is open."""

    session: Session
    console: Console
    interrupts: Interrupts
    resume: ResumePoint | None
    remeasure: bool

    def run(self, server: LiveServer | None) -> None:
        """Prepare the data, then train."""
        if server is not None:
            server.watch(self.session)
            self.console.print(f"live figures: {server.url}", soft_wrap=True)
        self.console.print(f"run {self.session.run_id} in {self.session.run_dir}")
        config = self.session.config
        check = _budget_check(self.session)
        with self.session.phase("prepare"):
            check("starting")
            check_memory_early(config)
            data = prepare_data(config, self.console.print, lambda: check("preparing the data"))
            describe_data(self.session, data)
            self._train(data)

    def _train(self, data: TokenizedData) -> None:
        from carbon_trainer.training.trainer import CarbonTrainer, train

        config = self.session.config
        self._warn(check_memory(config, data.tokenizer.vocab_size))
        module, pretrained = build_module(config, data)
        if pretrained:
            self._warn(end_token_warning(module.model, config.model, data.tokenizer.end_of_text))
        self._describe(module, data, pretrained)
        trainer = CarbonTrainer(
            config,
            session=self.session,
            interrupts=self.interrupts,
            remeasure=self.remeasure,
            console=None if config.progress == "off" else self.console,
        )
        _save_settings(module, self.session.run_dir / MODEL_FOLDER)
        train(trainer, module, data, config, self.interrupts, self.resume)

    def _warn(self, warning: str | None) -> None:
        if warning:
            self.console.print(f"warning: {warning}", soft_wrap=True)

    def _describe(self, module: TransformerModule, data: TokenizedData, pretrained: bool) -> None:
        """Record and print what is trained, on how much."""
        config = self.session.config
        devices, nodes = devices_and_nodes(config)
        # Devices that split layers train on the same batches.
        replicas = devices * nodes // config.tensor_parallel
        batch = config.batch_size * config.accumulate * replicas
        tokens_per_step = round(batch * data.tokens_per_item)
        counts = describe_model(self.session, module, data, pretrained, tokens_per_step)
        # Published runs, which estimates are made from, changed all the parameters of one stack.
        estimable = counts.trained is None and not data.pairs
        if self.resume is None and not self.remeasure and estimable:
            record_estimate(self.session, counts.all, devices * nodes, tokens_per_step)
        trained = "" if counts.trained is None else f" ({counts.trained:,} of them trained)"
        about = "about " if data.pairs else ""
        self.console.print(
            f"{config.model}: {counts.all:,} parameters{trained}, {data.train_tokens:,} training "
            f"tokens, {config.max_steps:,} steps of {about}{tokens_per_step:,} tokens",
            soft_wrap=True,
        )


def _budget_check(session: Session) -> Callable[[str], None]:
    """Return a check for use before training, where stopping needs no checkpoint."""
    budget = Budget.tightest(session.config, session.factor, session.accrued)

    def check(activity: str) -> None:
        if budget is not None and session.used_mj(upper=True) >= budget.limit_mj:
            reason = f"the budget of {budget.text} is used up while {activity}: give a larger one."
            raise RunStopped(budget_reached(reason))

    return check


def _save_settings(module: TransformerModule, folder: Path) -> None:
    """Save what a checkpoint lacks of its model; training never fails by our disk."""
    try:
        module.save_settings(folder)
    except OSError as error:
        log.warning("config and tokenizer cannot be saved in %s: %s", folder, error)
