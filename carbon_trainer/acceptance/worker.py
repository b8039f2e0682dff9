"""One part in a separate process: ``python -m carbon_trainer.acceptance.worker PART …``.

It imports first and waits for the signal to start, so that it can be launched while the part before
it measures. A part that breaks the GPU's context, hangs or is killed does not affect the others.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import click

from carbon_trainer.acceptance.accelerator import accelerator_of
from carbon_trainer.acceptance.findings import (
    Findings,
    NotPossibleError,
    PartResult,
    PartStatus,
)
from carbon_trainer.acceptance.parts import PARTS, Part, PartContext
from carbon_trainer.acceptance.scale import SCALES
from carbon_trainer.files import write_atomic

UNFINISHED = "it did not finish"


def part_of(name: str) -> Part:
    """Return the part of a name."""
    (part,) = [part for part in PARTS if part.name == name]
    return part


def work(name: str, accelerator: str, scale: str, folder: Path, to: Path) -> None:
    """Run a part, and write its findings so far into a file; an exception becomes its result."""
    part = part_of(name)
    started_s = time.perf_counter()

    def write(findings: Findings, status: PartStatus = "error", reason: str = UNFINISHED) -> None:
        result = PartResult(
            name=part.name,
            title=part.title,
            status=status,
            seconds=time.perf_counter() - started_s,
            reason=reason,
            figures=tuple(findings.figures),
            checks=tuple(findings.checks),
            tables=tuple(findings.tables),
        )
        write_atomic(to, json.dumps(result.to_json()), durable=False)

    findings = Findings(changed=write)
    try:
        context = PartContext(accelerator_of(accelerator), SCALES[scale], folder)
        part.measure()(context, findings)
        holds = all(check.holds for check in findings.checks)
        write(findings, "passed" if holds else "failed", "")
    except NotPossibleError as error:
        write(findings, "not possible", str(error))
    except Exception as error:  # noqa: BLE001 - it goes into the result, the traceback to the log
        traceback.print_exc()
        write(findings, "error", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


@click.command()
@click.argument("name")
@click.option("--accelerator", required=True)
@click.option("--scale", required=True)
@click.option("--folder", required=True, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path))
def main(name: str, accelerator: str, scale: str, folder: Path, to: Path) -> None:
    """Import what the part NAME needs, wait for a line, run it, and write its result as JSON."""
    part = part_of(name)
    part.measure()
    if part.needs_torch:
        importlib.import_module("torch")  # takes no context
    if not sys.stdin.readline():
        return  # nobody waits for the result
    work(name, accelerator, scale, folder, to)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of a driver or a library may hang at the interpreter's exit; the result is written.
    os._exit(0)


if __name__ == "__main__":
    main()
