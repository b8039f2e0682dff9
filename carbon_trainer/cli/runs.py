"""``carbon-train runs``: what the ledger knows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.options import ledger_options, open_ledger
from carbon_trainer.clock import to_datetime
from carbon_trainer.config import RunConfig
from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.launch.slurm import job_of, start_now
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import Decision, RunClosed, RunOpened
from carbon_trainer.ledger.recover import recover
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.recovery import PHASE as RECOVERED
from carbon_trainer.session import RESUME_NOW
from carbon_trainer.units import energy_text, kwh_from_mj


class _Verbs(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            hint = did_you_mean(args[0], self.commands)
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group("runs", cls=_Verbs)
def command() -> None:
    """List, show and verify recorded runs."""


@command.command("list")
@ledger_options
def list_runs(ledger: str | None, runs_dir: str | None) -> None:
    """List the ledger's runs, oldest first."""
    source = open_ledger(ledger, runs_dir)
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "opened (UTC)", "status", "steps", "energy", "name"):
        right = heading in ("steps", "energy")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "name")
    for run_id in source.run_ids():
        table.add_row(*_row(source, run_id))
    Console(highlight=False, soft_wrap=True).print(table)


def _row(source: Ledger, run_id: str) -> tuple[str, ...]:
    facts = source.facts(run_id)
    opened = next((fact for fact in facts if fact.kind == RunOpened.kind), facts[0])
    ends = [f for f in facts if f.kind in (RunOpened.kind, RunClosed.kind, "resumed")]
    last = ends[-1] if ends else opened
    closed = last.kind == RunClosed.kind
    booked = [f for f in facts if f.kind == Decision.kind and f.body["decision"] == RECOVERED]
    killed = bool(booked) and booked[-1].seq > last.seq
    return (
        run_id,
        f"{to_datetime(opened.time_ns):%Y-%m-%d %H:%M:%S}",
        "killed" if killed else str(last.body["status"]) if closed else "open",
        str(last.body["step"]) if closed else "",
        energy_text(kwh_from_mj(source.energy_mj(run_id))),
        str(opened.body.get("name", "")),
    )


@command.command("show")
@click.argument("run")
@ledger_options
def show(run: str, ledger: str | None, runs_dir: str | None) -> None:
    """Print the report of RUN as Markdown."""
    from carbon_trainer.reports.build import render_run

    source = open_ledger(ledger, runs_dir)
    click.echo(render_run(source, source.resolve(run), "md"))


@command.command("verify")
@click.argument("run", required=False)
@ledger_options
def verify_runs(run: str | None, ledger: str | None, runs_dir: str | None) -> None:
    """Check that the records of RUN, or of all runs, are as they were written.

    Each record's hash covers the one before it; the report in the run's folder holds the last
    hash, which shows whether the end was cut off. Exit status 1 if anything is wrong.
    """
    source = open_ledger(ledger, runs_dir)
    folder = Path(runs_dir or RunConfig.model_fields["runs_dir"].default)
    run_ids = [source.resolve(run)] if run else source.run_ids()
    broken = 0
    for run_id in run_ids:
        result = verify(source, run_id, *_anchors(folder / run_id))
        broken += not result.ok
        verdict = f"BROKEN: {result.problem}" if result.problem else "all as written"
        click.echo(f"{run_id}: {result.records} records, {verdict}")
    sys.exit(1 if broken else 0)


def _anchors(run_dir: Path) -> list[tuple[str, ChainHead]]:
    path = run_dir / "report.json"
    try:
        chain = json.loads(path.read_text(encoding="utf-8"))["chain"]
        return [(str(path), ChainHead(int(chain["seq"]), str(chain["sha256"])))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        click.echo(f"{path} cannot be read ({error}): it is not compared with.", err=True)
        return []


@command.command("recover")
@click.argument("file", type=click.Path(path_type=Path))
@ledger_options
def recover_records(file: Path, ledger: str | None, runs_dir: str | None) -> None:
    """Put the records of FILE, which a full or locked disk had refused, into the ledger."""
    run_id, count = recover(open_ledger(ledger, runs_dir), file)
    click.echo(f"{count} records are back in run {run_id}.")


@command.command("resume-now")
@ledger_options
@click.argument("run")
def resume_now(run: str, ledger: str | None, runs_dir: str | None) -> None:
    """Ask RUN, which waits for a cleaner grid, to go on at once.

    A run that pauses or is released here goes on within a second; one that is released in Slurm
    becomes eligible to start.
    """
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    closed = source.facts(run_id, RunClosed)
    status = closed[-1].body["status"] if closed else "open"
    if status not in ("open", "released"):
        raise InputError(f"run {run_id} does not wait: it ended as {status}.")
    folder = Path(runs_dir) if runs_dir else RunConfig.model_fields["runs_dir"].default
    try:
        (folder / run_id / RESUME_NOW).touch()
    except OSError as error:
        raise InputError(
            f"cannot write into {folder / run_id}: {error.strerror}. Give the run's own --runs-dir."
        ) from error
    click.echo(f"{run_id} is asked to go on.")
    job_id = job_of(run_id)
    if job_id is not None and status == "released":
        click.echo(start_now(job_id))
