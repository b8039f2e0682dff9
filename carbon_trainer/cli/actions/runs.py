"""What ``carbon-train runs`` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from carbon_trainer.cli.actions.location import open_ledger, runs_folder
from carbon_trainer.clock import to_datetime
from carbon_trainer.errors import InputError
from carbon_trainer.launch.slurm import job_of, start_now
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.codecarbon import import_emissions
from carbon_trainer.ledger.facts import Decision, RunClosed, RunOpened
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.recover import recover
from carbon_trainer.ledger.state import last_state
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.signature import FILE as SIGNATURE
from carbon_trainer.reports.signature import check_signature
from carbon_trainer.runs.outcome import RESUME_NOW
from carbon_trainer.units import energy_text, kwh_from_mj


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
    last = last_state(facts) or opened
    closed = last.kind == RunClosed.kind
    killed = last.kind == Decision.kind
    return (
        run_id,
        f"{to_datetime(opened.time_ns):%Y-%m-%d %H:%M:%S}",
        "killed" if killed else str(last.body["status"]) if closed else "open",
        str(last.body["step"]) if closed else "",
        energy_text(kwh_from_mj(source.energy_mj(run_id))),
        str(opened.body.get("name", "")),
    )


def show(run: str, ledger: str | None, runs_dir: str | None) -> None:
    """Print the report of a run as Markdown."""
    # Slow to import (reports): `runs list` should not wait for it.
    from carbon_trainer.reports.build import render_run

    source = open_ledger(ledger, runs_dir)
    click.echo(render_run(source, source.resolve(run), "md"))


def verify_runs(
    run: str | None, public_key: Path | None, ledger: str | None, runs_dir: str | None
) -> None:  # fmt: skip
    """Verify records and reports; exit status 1 if anything is wrong."""
    source = open_ledger(ledger, runs_dir)
    folder = runs_folder(runs_dir)
    run_ids = [source.resolve(run)] if run else source.run_ids()
    invalid = [run_id for run_id in run_ids if not _verify_run(source, run_id, folder, public_key)]
    sys.exit(1 if invalid else 0)


def _verify_run(source: Ledger, run_id: str, folder: Path, public_key: Path | None) -> bool:
    """Verify one run, print the result, and return whether it is valid."""
    path = folder / run_id / "report.json"
    report = _read_report(path)
    result = verify(source, run_id, *_anchors(path, report))
    problems = [f"BROKEN: {result.problem}"] if result.problem else []
    confirmations = ["hash chain valid"]
    # Figures that are recomputed from broken records say nothing about the report.
    if report is not None and result.ok:
        # Slow to import, like all of reports.
        from carbon_trainer.reports.recompute import recompute

        differences = recompute(source, run_id, report)
        problems += [f"{path}: {difference}." for difference in differences]
        if not differences:
            confirmations.append(_recomputed_text(report, result.records))
    if (folder / run_id / SIGNATURE).exists():
        signature_problems, signer = check_signature(folder / run_id, public_key)
        problems += [f"{problem}." for problem in signature_problems]
        confirmations.append(f"signed by {signer[:16]}…")
    elif public_key is not None:
        problems.append(f"{folder / run_id} has no {SIGNATURE}: the report is not signed.")
    verdict = " ".join(problems) if problems else "; ".join(confirmations)
    click.echo(f"{run_id}: {result.records} records, {verdict}")
    return not problems


def _recomputed_text(report: dict[str, Any], records: int) -> str:
    text = f"{len(report['figures'])} figures of the report recomputed"
    seq = int(report["chain"]["seq"])
    if seq < records:
        text += f", as of record {seq}; rebuild the report to include later records"
    return text


def _read_report(path: Path) -> dict[str, Any] | None:
    """Return a published report; None if there is none, or it cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or not isinstance(document["figures"], dict):
            raise TypeError("not a report")  # noqa: TRY301 - reported like the others
        int(document["chain"]["seq"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        click.echo(f"{path} cannot be read ({error}): the report is not verified.", err=True)
        return None
    return document


def _anchors(path: Path, report: dict[str, Any] | None) -> list[tuple[str, ChainHead]]:
    if report is None:
        return []
    chain = report["chain"]
    return [(str(path), ChainHead(int(chain["seq"]), str(chain["sha256"])))]


def import_runs(file: Path, user: str, ledger: str | None, runs_dir: str | None) -> None:
    """Import the rows of CodeCarbon's emissions.csv, one run per row."""
    folder = runs_folder(runs_dir)
    target = Ledger.open(location_of(ledger, folder))
    imports = import_emissions(target, file, user)
    new = [run for run in imports if run.is_new]
    for run in new:
        click.echo(run.run_id)
    click.echo(f"imported {len(new)} new runs from {len(imports)} rows of {file} to {target.name}.")


def recover_records(file: Path, ledger: str | None, runs_dir: str | None) -> None:
    """Append the records of a file to the ledger."""
    run_id, count = recover(open_ledger(ledger, runs_dir), file)
    click.echo(f"recovered {count} records of run {run_id}.")


def resume_now(run: str, ledger: str | None, runs_dir: str | None) -> None:
    """Resume a waiting run now."""
    source = open_ledger(ledger, runs_dir)
    run_id = source.resolve(run)
    closed = source.facts(run_id, RunClosed)
    status = closed[-1].body["status"] if closed else "open"
    if status not in ("open", "released"):
        raise InputError(f"run {run_id} is not waiting: its status is {status}.")
    folder = runs_folder(runs_dir)
    try:
        (folder / run_id / RESUME_NOW).touch()
    except OSError as error:
        raise InputError(
            f"cannot write to {folder / run_id}: {error.strerror}. Set --runs-dir to the run's."
        ) from error
    click.echo(f"resuming {run_id}.")
    job_id = job_of(run_id)
    if job_id is not None and status == "released":
        click.echo(start_now(job_id))
