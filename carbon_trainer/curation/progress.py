"""Progress of a preparation: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from carbon_trainer.curation.state import Position
from carbon_trainer.units import MJ_PER_KWH, energy_text

LINE_INTERVAL_S = 10.0


@contextmanager
def progress_display(console: Console, mode: str) -> Iterator[Callable[[Position], None]]:
    """Yield a function that displays a preparation's progress.

    Args:
        console: where to display it.
        mode: ``auto``, ``bar``, ``lines`` or ``off``.
    """
    if mode == "off":
        yield lambda _: None
    elif mode == "lines" or (mode == "auto" and not console.is_terminal):
        yield _lines(console)
    else:
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True
        ) as bar:
            task = bar.add_task("reading")
            yield lambda position: bar.update(task, description=_text(position))


def _lines(console: Console) -> Callable[[Position], None]:
    printed_s = time.monotonic()

    def print_line(position: Position) -> None:
        nonlocal printed_s
        if time.monotonic() - printed_s >= LINE_INTERVAL_S:
            printed_s = time.monotonic()
            console.print(_text(position), soft_wrap=True)

    return print_line


def _text(position: Position) -> str:
    return (
        f"{position.read:,} documents read, {position.documents:,} kept, "
        f"{position.characters / 1e6:,.1f} million characters, "
        f"{energy_text(position.energy_mj / MJ_PER_KWH)}"
    )
