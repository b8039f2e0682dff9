"""``carbon-train fit``: the main job."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from carbon_trainer.cli.options import config_options, given
from carbon_trainer.config import COMMAND_LINE, RunConfig, read_yaml
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import CheckpointSaved, Resumed, RunClosed, RunOpened
from carbon_trainer.ledger.store import Ledger, location_of
from carbon_trainer.session import ResumePoint


@click.command("fit")
@click.argument("run_file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--resume",
    metavar="RUN",
    help="Go on with a run: its id, the beginning of one, `last`, or a checkpoint's path. Its "
    "settings hold, except those given now.",
)
@click.option("--print-config", is_flag=True, help="Print the settings that would hold, and stop.")
@config_options
def command(run_file: Path | None, resume: str | None, print_config: bool, **flags: Any) -> None:
    """Train a transformer language model, metered and under a budget.

    RUN_FILE is YAML with the names below as keys (budget_kwh: 500); flags go before it. With no
    data named, it trains on the source of Python's own standard library.
    """
    sources = [(COMMAND_LINE, given(flags))]
    if run_file is not None:
        sources.insert(0, (str(run_file), read_yaml(run_file)))
    config = RunConfig.from_sources(*sources)
    point = None
    if resume is not None:
        point, before = resume_point(resume, config)
        config = RunConfig.from_sources((f"run {point.run_id}", before), *sources)
    from carbon_trainer import job

    config = job.resolved(config)
    if point is not None and config.max_steps is not None and point.step >= config.max_steps:
        raise InputError(
            f"run {point.run_id} has done all of its {config.max_steps} steps; give more with "
            "--max-steps to go on."
        )
    if print_config:
        click.echo(config.to_yaml(), nl=False)
        return
    _leave(_fit(config, point))


def _fit(config: RunConfig, point: ResumePoint | None) -> int:
    from carbon_trainer import job
    from carbon_trainer.cli.closing import print_closing
    from carbon_trainer.interrupts import Interrupts

    console = Console(highlight=False)
    check_quickly(config)
    with Interrupts() as interrupts:
        result = job.fit(config, console=console, interrupts=interrupts, resume=point)
    print_closing(console, result)
    return result.outcome.exit_status


def _leave(status: int) -> NoReturn:
    """Exit; at once where an interrupted preparation is still deep in native code.

    An orderly exit would cut its thread off there, which ends in an abort.
    """
    if any(thread.name == "prepare" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def check_quickly(config: RunConfig) -> None:
    """Find what can be found wrong before anything heavy is imported or recorded.

    Raises:
        InputError: for an unknown zone or model, or a path that is not there.
    """
    from carbon_trainer.emissions import ZoneFactors
    from carbon_trainer.models.recipes import check_model_name

    ZoneFactors().intensity(config.zone)
    check_model_name(config.model)
    for path in config.data:
        if not path.exists():
            raise InputError(f"there is no file or folder {path} to train on.")


def resume_point(text: str, config: RunConfig) -> tuple[ResumePoint, dict[str, Any]]:
    """Find where a run goes on.

    Args:
        text: a run's id, the beginning of one, ``last``, or a checkpoint's path.
        config: where the ledger is.

    Returns:
        The point and the run's settings.

    Raises:
        InputError: if there is no such run, or it has no checkpoint, or it is already finished.
    """
    if Path(text).exists():
        return _from_checkpoint(Path(text))
    ledger = Ledger.open(location_of(config.ledger, config.runs_dir), create=False)
    try:
        run_id = ledger.resolve(text)
        facts = ledger.facts(run_id, RunOpened, Resumed, CheckpointSaved, RunClosed)
    finally:
        ledger.close()
    saved = [fact for fact in facts if fact.kind == CheckpointSaved.kind]
    there = [Path(fact.body["path"]) for fact in saved if Path(fact.body["path"]).exists()]
    # A run that was killed may have saved later ones than it had written down.
    there += sorted((config.runs_dir / run_id / "checkpoints").glob("step-*.ckpt"))
    if not there:
        raise InputError(
            f"run {run_id} has no checkpoint to go on from: "
            + ("its checkpoints were removed." if saved else "it ended before the first one.")
        )
    settings = [fact.body["config"] for fact in facts if "config" in fact.body][-1]
    settings = _kept(settings)
    return _from_checkpoint(max(there, key=lambda path: path.stat().st_mtime), run_id, settings)


def _from_checkpoint(
    path: Path, run_id: str | None = None, settings: dict[str, Any] | None = None
) -> tuple[ResumePoint, dict[str, Any]]:
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = checkpoint["callbacks"]["CarbonAware"]["run"]
        step = int(checkpoint["global_step"])
    except Exception as error:
        raise InputError(
            f"{path} is not a checkpoint of carbon-train ({type(error).__name__}): give a run's id "
            "or a file from its checkpoints folder."
        ) from error
    before = settings or _kept(state["config"])
    known = run_id or str(state["run_id"])
    return ResumePoint(known, str(path), step, int(state["energy_mj"])), before


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that hold on resuming; places are for now to say.

    A port may be taken where a run goes on, and must not keep it from going on.
    """
    places = ("ledger", "runs_dir", "prometheus_port")
    return {k: v for k, v in settings.items() if v is not None and k not in places}
