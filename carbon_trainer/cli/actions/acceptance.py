"""What ``carbon-train doctor --acceptance`` does: runs the check, prints and writes its results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from carbon_trainer.acceptance.accelerator import check_torch, first_gpu
from carbon_trainer.acceptance.check import LOG, TRACES, Document, Plan, run_check
from carbon_trainer.acceptance.findings import PartResult
from carbon_trainer.acceptance.page import page
from carbon_trainer.acceptance.parts import PARTS
from carbon_trainer.errors import InputError
from carbon_trainer.files import write_atomic

FOLDER = Path("carbon_acceptance")
DOCUMENT, PAGE = "acceptance.json", "acceptance.html"


def accept(parts: tuple[str, ...], folder: Path | None) -> None:
    """Check the first GPU; exits with status 1 if a promise does not hold.

    Raises:
        InputError: if there is no GPU, or the results cannot be written.
    """
    first_gpu()
    check_torch()
    plan = Plan(
        folder=results_folder(folder or FOLDER), parts=parts or tuple(part.name for part in PARTS)
    )
    if not run_and_write(plan, Console(highlight=False)):
        sys.exit(1)


def results_folder(folder: Path) -> Path:
    """Create the output folder and remove earlier results from it.

    Raises:
        InputError: if it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (DOCUMENT, PAGE, LOG, TRACES):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror}.") from error
    return folder


def run_and_write(plan: Plan, console: Console) -> bool:
    """Run a check, print each part's result when it ends, and write the document and the page.

    Returns:
        Whether every promise that could be tested holds.
    """
    width = max(len(part.title) for part in PARTS)

    def report_part(result: PartResult, document: Document) -> None:
        # Written after each part, so that a check that is interrupted leaves its results so far.
        write_atomic(plan.folder / DOCUMENT, json.dumps(document, indent=1))
        write_atomic(plan.folder / PAGE, page(document))
        reason = f"  {result.reason}" if result.reason else ""
        console.print(
            f"{result.title:{width}}  {result.status:12}  {result.seconds:4.0f} s{escape(reason)}"
        )
        for check in result.checks:
            if not check.holds:
                console.print(f"  [bold]does not hold:[/] {escape(check.promise)}: "
                              f"{escape(check.found)}")  # fmt: skip

    document = run_check(plan, report_part)
    console.print(f"page: {plan.folder / PAGE}", soft_wrap=True)
    return bool(document["passed"])
