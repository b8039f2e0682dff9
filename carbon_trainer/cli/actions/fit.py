"""What ``carbon-train fit`` does."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from carbon_trainer.cli.actions.checks import check_quickly, check_schedule
from carbon_trainer.cli.actions.closing import print_closing
from carbon_trainer.cli.actions.killed import complete_killed
from carbon_trainer.cli.options import explicit_settings
from carbon_trainer.cli.supervision import become_supervisor
from carbon_trainer.clock import SystemClock, to_datetime
from carbon_trainer.config import COMMAND_LINE, ResolvedConfig, RunConfig, read_yaml
from carbon_trainer.distributed.environment import elastic_run_id, is_elastic, this_rank
from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.launch.slurm import SlurmError, requeue, this_job
from carbon_trainer.ledger.facts import Resumed, RunOpened
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.runs.checkpoints import latest_valid
from carbon_trainer.runs.outcome import RELEASED_STATUS, ResumePoint, new_run_id
from carbon_trainer.runs.signals import Interrupts
from carbon_trainer.training import fit as job
from carbon_trainer.training.setup import with_defaults
from carbon_trainer.training.worker import train_as_worker

PREEMPTED = (138, 140)
"""Exit statuses for SIGUSR1 and SIGUSR2, with which schedulers announce preemption."""

NOT_RESTARTED = (3, RELEASED_STATUS)
"""Exit statuses after which a restart is pointless: budget reached, or released until later."""


def fit(
    run_file: Path | None, resume: str | None, print_config: bool, run_id: str | None,
    supervise: bool, max_restarts: int, **flags: Any,
) -> None:  # fmt: skip
    """Train a model, print the resolved settings, or supervise a run."""
    if resume is not None and run_id is not None:
        raise InputError("--resume and --run-id are mutually exclusive.")
    sources = [(COMMAND_LINE, explicit_settings(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    run_id = run_id or (elastic_run_id() if resume is None else None)
    config, point = _resolve(sources, resume, run_id)
    if print_config:
        click.echo(config.to_yaml(), nl=False)
        return
    if point is not None and config.max_steps is not None and point.step >= config.max_steps:
        _exit_finished(config, point, is_explicit=resume is not None)
    check_quickly(config)
    if point is None:
        check_schedule(config)
    if supervise:
        _supervise(config, point, run_id, max_restarts)
    _exit(_fit(config, point, run_id))


def _resolve(
    sources: list[tuple[str, dict[str, Any]]], resume: str | None, run_id: str | None
) -> tuple[ResolvedConfig, ResumePoint | None]:
    """Return the resolved settings, and the point from which the run resumes.

    Settings of a resumed run come before what is given now with --resume, which continues a run
    with changes, and after it with --run-id, whose command line is the same at each start.

    Raises:
        InputError: if there is nothing to resume from.
    """
    config = RunConfig.from_sources(*sources)
    point = None
    if resume is not None:
        point, settings = resume_point(resume, config)
        config = RunConfig.from_sources((f"run {point.run_id}", settings), *sources)
        _check_same_adapter(point.run_id, settings, config)
    elif run_id is not None:
        match = find_run(run_id, config)
        if match is not None:
            point, settings = match
            config = RunConfig.from_sources(*sources, (f"run {point.run_id}", settings))
    return with_defaults(config), point


def _exit_finished(config: RunConfig, point: ResumePoint, *, is_explicit: bool) -> NoReturn:
    """Exit for a run that has done all of its steps; with status 0 unless --resume names it.

    If the earlier process was killed before it had completed the record, this one completes it.

    Raises:
        InputError: if the user asked to resume the run.
        CarbonTrainerError: if the record is incomplete and cannot be completed.
    """
    if this_rank() == 0:
        for line in complete_killed(config, point):
            click.echo(line)
    message = f"run {point.run_id} has completed all of its {config.max_steps} steps"
    if is_explicit:
        raise InputError(f"{message}; raise --max-steps to resume it.")
    click.echo(f"{message}.")
    sys.exit(0)


def _check_same_adapter(run_id: str, settings: dict[str, Any], config: RunConfig) -> None:
    """Check that the adapter has not changed, as the run's checkpoints would not fit."""
    for name in ("lora_rank", "lora_alpha", "lora_targets"):
        value = getattr(config, name)
        original = settings.get(name, RunConfig.model_fields[name].default)
        if original != value:
            raise InputError(
                f"run {run_id} was started with {name} {original} and cannot be resumed with "
                f"{value}: start a new run."
            )


def _supervise(
    config: RunConfig, point: ResumePoint | None, run_id: str | None, max_restarts: int
) -> NoReturn:
    """Become the supervisor, which runs the same command without --supervise."""
    become_supervisor(
        sys.argv,
        run_id=point.run_id if point else run_id or new_run_id(SystemClock()),
        runs_dir=config.runs_dir,
        ledger=location_of(config.ledger, config.runs_dir),
        max_restarts=max_restarts,
    )


def _fit(config: ResolvedConfig, point: ResumePoint | None, run_id: str | None) -> int:
    console = Console(highlight=False)
    with Interrupts() as interrupts:
        if this_rank() > 0:
            train_as_worker(config, interrupts, point)
            return 0
        result = job.fit(
            config, console=console, interrupts=interrupts, resume=point, run_id=run_id
        )
    print_closing(console, result)
    status = result.outcome.exit_status
    job_id = this_job()
    if job_id is not None and status in (RELEASED_STATUS, *PREEMPTED):
        _requeue_job(console, job_id, result)
    if is_elastic() and status in NOT_RESTARTED:
        # torchrun restarts a worker after any status but 0.
        console.print(f"exit status 0 instead of {status}, so that torchrun does not restart it.")
        return 0
    return status


def _requeue_job(console: Console, job_id: int, result: job.FitResult) -> None:
    """Requeue this Slurm job: for the planned time, or at once if it was preempted."""
    resume_at_ns = result.session.resume_at_ns()
    start_time = None if resume_at_ns is None else to_datetime(resume_at_ns)
    start = "" if start_time is None else f" to start at {start_time:%Y-%m-%d %H:%M:%S} UTC"
    console.print(f"requeueing job {job_id}{start}.")
    # Slurm ends this process while it is requeued; what is still buffered would be lost.
    sys.stdout.flush()
    try:
        requeue(job_id, start_time)
    except SlurmError as error:
        console.print(f"job {job_id} could not be requeued: {error}", soft_wrap=True)


def _exit(status: int) -> NoReturn:
    """Exit; without the interpreter's cleanup while a data preparation is in native code.

    The cleanup would stop its thread there, which aborts the process (SIGABRT).
    """
    if any(thread.name == "prepare" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def resume_point(text: str, config: RunConfig) -> tuple[ResumePoint, dict[str, Any]]:
    """Return the point from which a run resumes.

    Args:
        text: a run's id, an id's prefix, ``last``, or a checkpoint's path.
        config: names the runs folder and the ledger.

    Returns:
        The point and the run's settings.

    Raises:
        InputError: if there is no such run, or it has no checkpoint.
    """
    if Path(text).exists():
        return _from_checkpoint(Path(text))
    ledger = Ledger.open(location_of(config.ledger, config.runs_dir), create=False)
    try:
        run_id = ledger.resolve(text)
    finally:
        ledger.close()
    match = find_run(run_id, config)
    if match is None or match[0].checkpoint is None:
        folder = config.runs_dir / run_id / "checkpoints"
        raise InputError(
            f"run {run_id} has no valid checkpoint in {folder}. --run-id {run_id} starts it from "
            "the beginning."
        )
    return match


def find_run(run_id: str, config: RunConfig) -> tuple[ResumePoint, dict[str, Any]] | None:
    """Return the point from which a run resumes, which may have no checkpoint yet.

    Args:
        run_id: its full id.
        config: names the runs folder and the ledger.

    Returns:
        The point and the run's settings; None if there is no such run.
    """
    location = location_of(config.ledger, config.runs_dir)
    try:
        ledger = Ledger.open(location, create=False)
    except LedgerError:
        return None
    try:
        facts = ledger.facts(run_id, RunOpened, Resumed)
    finally:
        ledger.close()
    if not facts:
        return None
    settings = _resumable(facts[-1].body["config"])
    checkpoint = latest_valid(config.runs_dir / run_id / "checkpoints")
    if checkpoint is None:
        return ResumePoint(run_id, None, 0), settings
    return _from_checkpoint(checkpoint, run_id, settings)


def _from_checkpoint(
    path: Path, run_id: str | None = None, settings: dict[str, Any] | None = None
) -> tuple[ResumePoint, dict[str, Any]]:
    import torch

    try:
        # A sharded checkpoint is a folder, with the state that is not sharded in meta.pt.
        file = path / "meta.pt" if path.is_dir() else path
        checkpoint = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        state = checkpoint["callbacks"]["CarbonAware"]["run"]
        step, tokens = int(checkpoint["global_step"]), int(state["tokens"])
    except Exception as error:
        raise InputError(
            f"{path} is not a checkpoint of carbon-train ({type(error).__name__}): give a run's id "
            "or a file from its checkpoints folder."
        ) from error
    run_id = run_id or str(state["run_id"])
    point = ResumePoint(run_id, str(path), step, int(state["energy_mj"]), tokens)
    return point, settings or _resumable(state["config"])


def _resumable(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a resumed run inherits: not paths, which the user gives each time.

    Nor the port, which may be in use on the machine where the run is resumed.
    """
    not_inherited = ("ledger", "runs_dir", "prometheus_port")
    return {k: v for k, v in settings.items() if v is not None and k not in not_inherited}
