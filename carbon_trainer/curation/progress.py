"""Shows how a preparation goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from carbon_trainer.curation.state import Position
from carbon_trainer.units import MJ_PER_KWH, energy_text

LINE_S = 10.0


@contextmanager
def shown(console: Console, how: str) -> Iterator[Callable[[Position], None]]:
    """Yield what shows how far a preparation is.

    Args:
        console: where to.
        how: ``auto``, ``bar``, ``lines`` or ``off``.
    """
    if how == "off":
        yield lambda _: None
    elif how == "lines" or (how == "auto" and not console.is_terminal):
        yield _lines(console)
    else:
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True
        ) as bar:
            task = bar.add_task("reading")
            yield lambda position: bar.update(task, description=_text(position))


def _lines(console: Console) -> Callable[[Position], None]:
    told_s = time.monotonic()

    def show(position: Position) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= LINE_S:
            told_s = time.monotonic()
            console.print(_text(position), soft_wrap=True)

    return show


def _text(position: Position) -> str:
    return (
        f"{position.read:,} documents read, {position.documents:,} kept, "
        f"{position.characters / 1e6:,.1f} million characters, "
        f"{energy_text(position.energy_mj / MJ_PER_KWH)}"
    )
