"""What ``carbon-train data affected`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.actions.location import open_ledger
from carbon_trainer.curation.affected import Finding, find_affected
from carbon_trainer.curation.removal import read_removal_list


def affected(
    dataset: tuple[Path, ...], remove: Path, as_json: bool, ledger: str | None, runs_dir: str | None
) -> None:
    """Print which datasets contain entries of a removal list, and which runs used them."""
    removal = read_removal_list(remove)
    source = open_ledger(ledger, runs_dir)
    try:
        findings = find_affected(removal, source, dataset)
    finally:
        source.close()
    if as_json:
        documents = [_as_json(finding) for finding in findings]
        click.echo(json.dumps(documents, indent=1, ensure_ascii=False))
        return
    for line in _affected_lines(findings):
        click.echo(line)


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "folder": str(finding.folder),
        "data_sha256": finding.data_sha256,
        "documents": finding.documents,
        "problem": finding.problem or None,
        "runs": list(finding.runs),
    }


def _affected_lines(findings: list[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        where = f"{finding.name} in {finding.folder}"
        if finding.documents:
            counts = "; ".join(f"{count:,} by {kind}" for kind, count in finding.documents.items())
            lines.append(f"{where} contains listed documents: {counts}.")
        elif finding.problem:
            lines.append(f"{where} could not be searched ({finding.problem}).")
        else:
            continue
        runs = ", ".join(finding.runs) or "none in this ledger"
        lines.append(f"  prepare it again with --remove; runs trained on it: {runs}")
    affected_count = sum(finding.is_affected for finding in findings)
    lines.append(f"{affected_count} of {len(findings)} datasets are affected, or may be.")
    return lines
