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
from carbon_trainer.cli.options import explicit_settings
from carbon_trainer.cli.supervision import become_supervisor
from carbon_trainer.clock import SystemClock, to_datetime
from carbon_trainer.config import COMMAND_LINE, ResolvedConfig, RunConfig, read_yaml
from carbon_trainer.distributed.environment import elastic_run_id, is_elastic, this_rank
from carbon_trainer.errors import InputError, LedgerError
from carbon_trainer.launch.slurm import SlurmError, come_back, this_job
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
"""Ends by SIGUSR1 and SIGUSR2, which are how schedulers tell."""

ORDERLY = (3, RELEASED_STATUS)
"""Ends that a restart would not change: the budget is reached, or it is not yet time."""


def fit(
    run_file: Path | None, resume: str | None, print_config: bool, run_id: str | None,
    supervise: bool, max_restarts: int, **flags: Any,
) -> None:  # fmt: skip
    """Train, or print the settings that would hold, or stay beside the run."""
    if resume is not None and run_id is not None:
        raise InputError("give --resume or --run-id, not both: either says which run goes on.")
    sources = [(COMMAND_LINE, explicit_settings(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    run_id = run_id or (elastic_run_id() if resume is None else None)
    config, point = _where_to_begin(sources, resume, run_id)
    if print_config:
        click.echo(config.to_yaml(), nl=False)
        return
    if point is not None and config.max_steps is not None and point.step >= config.max_steps:
        _end_with_nothing_left(config, point, is_asked=resume is not None)
    check_quickly(config)
    if point is None:
        check_schedule(config)
    if supervise:
        _supervise(config, point, run_id, max_restarts)
    _leave(_fit(config, point, run_id))


def _where_to_begin(
    sources: list[tuple[str, dict[str, Any]]], resume: str | None, run_id: str | None
) -> tuple[ResolvedConfig, ResumePoint | None]:
    """Return the settings that hold, and the point from which the run goes on.

    Raises:
        InputError: if there is nothing to go on from.
    """
    config = RunConfig.from_sources(*sources)
    point = None
    if resume is not None:
        point, before = resume_point(resume, config)
        config = RunConfig.from_sources((f"run {point.run_id}", before), *sources)
        _check_same_adapter(point.run_id, before, config)
    elif run_id is not None:
        known = known_run(run_id, config)
        if known is not None:
            point, before = known
            config = RunConfig.from_sources(*sources, (f"run {point.run_id}", before))
    return with_defaults(config), point


def _end_with_nothing_left(config: RunConfig, point: ResumePoint, *, is_asked: bool) -> NoReturn:
    """End a start of a run that has done all of its steps; one that was asked to go on fails.

    If the earlier process was killed before it had completed the record, this one completes it.

    Raises:
        InputError: if the user asked to go on.
        CarbonTrainerError: if the record is incomplete and cannot be completed.
    """
    if this_rank() == 0:
        # Reports take long to import, and most starts have something left to do.
        from carbon_trainer.cli.actions.killed import complete_killed

        for line in complete_killed(config, point):
            click.echo(line)
    done = f"run {point.run_id} has done all of its {config.max_steps} steps"
    if is_asked:
        raise InputError(f"{done}; give more with --max-steps to go on.")
    click.echo(f"{done}.")
    sys.exit(0)


def _check_same_adapter(run_id: str, before: dict[str, Any], config: RunConfig) -> None:
    """What is trained does not change within a run: its checkpoints would not fit."""
    for name in ("lora_rank", "lora_alpha", "lora_targets"):
        now = getattr(config, name)
        was = before.get(name, RunConfig.model_fields[name].default)
        if was != now:
            raise InputError(
                f"run {run_id} was begun with {name} {was}, and cannot go on with {now}: begin a "
                "new run."
            )


def _supervise(
    config: RunConfig, point: ResumePoint | None, run_id: str | None, max_restarts: int
) -> NoReturn:
    """Run the same command, without --supervise, as often as it takes."""
    become_supervisor(
        sys.argv,
        run_id=point.run_id if point else run_id or new_run_id(SystemClock()),
        runs_dir=config.runs_dir,
        ledger=location_of(config.ledger, config.runs_dir),
        max_restarts=max_restarts,
    )


def _fit(config: ResolvedConfig, point: ResumePoint | None, run_id: str | None) -> int:
    # Reports take long to import, and a refusal should not wait for them.
    from carbon_trainer.cli.actions.closing import print_closing

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
        _return_to_queue(console, job_id, result)
    if is_elastic() and status in ORDERLY:
        console.print(f"exit status 0 for torchrun, which would start it again after {status}.")
        return 0
    return status


def _return_to_queue(console: Console, job_id: int, result: job.FitResult) -> None:
    """Have Slurm start this job again: at the planned time, or soon if it was pre-empted."""
    until_ns = result.session.resume_at_ns()
    at = None if until_ns is None else to_datetime(until_ns)
    when = "as soon as it has its turn" if at is None else f"at {at:%Y-%m-%d %H:%M:%S} UTC"
    console.print(f"job {job_id} is started again {when}.")
    sys.stdout.flush()
    try:
        come_back(job_id, at)
    except SlurmError as error:
        console.print(f"it could not be put back into the queue: {error}", soft_wrap=True)


def _leave(status: int) -> NoReturn:
    """Exit; at once where an interrupted preparation is still deep in native code.

    An orderly exit would cut its thread off there, which ends in an abort.
    """
    if any(thread.name == "prepare" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def resume_point(text: str, config: RunConfig) -> tuple[ResumePoint, dict[str, Any]]:
    """Find where a run goes on.

    Args:
        text: a run's id, the beginning of one, ``last``, or a checkpoint's path.
        config: where the ledger is.

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
    found = known_run(run_id, config)
    if found is None or found[0].checkpoint is None:
        folder = config.runs_dir / run_id / "checkpoints"
        raise InputError(
            f"run {run_id} has no checkpoint to go on from: {folder} has none that is whole. "
            f"--run-id {run_id} begins it again."
        )
    return found


def known_run(run_id: str, config: RunConfig) -> tuple[ResumePoint, dict[str, Any]] | None:
    """Find where a run goes on that may not have begun, or may have no checkpoint yet.

    Args:
        run_id: its full id.
        config: where the ledger is.

    Returns:
        The point and the run's settings; None where there is no such run.
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
    settings = _kept([fact.body["config"] for fact in facts][-1])
    whole = latest_valid(config.runs_dir / run_id / "checkpoints")
    if whole is None:
        return ResumePoint(run_id, None, 0), settings
    return _from_checkpoint(whole, run_id, settings)


def _from_checkpoint(
    path: Path, run_id: str | None = None, settings: dict[str, Any] | None = None
) -> tuple[ResumePoint, dict[str, Any]]:
    import torch

    try:
        # A sharded checkpoint is a folder, with what is not sharded in a file of its own.
        file = path / "meta.pt" if path.is_dir() else path
        checkpoint = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        state = checkpoint["callbacks"]["CarbonAware"]["run"]
        step, tokens = int(checkpoint["global_step"]), int(state["tokens"])
    except Exception as error:
        raise InputError(
            f"{path} is not a checkpoint of carbon-train ({type(error).__name__}): give a run's id "
            "or a file from its checkpoints folder."
        ) from error
    before = settings or _kept(state["config"])
    known = run_id or str(state["run_id"])
    return ResumePoint(known, str(path), step, int(state["energy_mj"]), tokens), before


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that hold on resuming; places are for now to say.

    A port may be taken where a run goes on, and must not keep it from going on.
    """
    places = ("ledger", "runs_dir", "prometheus_port")
    return {k: v for k, v in settings.items() if v is not None and k not in places}
