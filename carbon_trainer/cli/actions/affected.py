"""What ``carbon-train data affected`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.actions.location import open_ledger
from carbon_trainer.curation.affected import Finding
from carbon_trainer.curation.affected import affected as look
from carbon_trainer.curation.removal import read_removal_list


def affected(
    dataset: tuple[Path, ...], remove: Path, as_json: bool, ledger: str | None, runs_dir: str | None
) -> None:
    """Print which datasets hold what a removal list names, and which runs used them."""
    removal = read_removal_list(remove)
    known = open_ledger(ledger, runs_dir)
    try:
        findings = look(removal, known, dataset)
    finally:
        known.close()
    if as_json:
        told = [_as_json(one) for one in findings]
        click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    for line in _affected_lines(findings):
        click.echo(line)


def _as_json(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name,
        "folder": str(one.folder),
        "data_sha256": one.data_sha256,
        "documents": one.documents,
        "problem": one.problem or None,
        "runs": list(one.runs),
    }


def _affected_lines(findings: list[Finding]) -> list[str]:
    lines = []
    for one in findings:
        if one.documents:
            counts = "; ".join(f"{count:,} by {how}" for how, count in one.documents.items())
            lines.append(f"{one.name} in {one.folder} holds documents of the list: {counts}.")
        elif one.problem:
            lines.append(f"{one.name} in {one.folder} may: it was not looked into ({one.problem}).")
        else:
            continue
        runs = ", ".join(one.runs) or "none that this ledger knows"
        lines.append(f"  prepare it again with --remove; trained with it: {runs}")
    touched = sum(one.is_affected for one in findings)
    lines.append(f"{touched} of {len(findings)} datasets hold something of the list, or may.")
    return lines
