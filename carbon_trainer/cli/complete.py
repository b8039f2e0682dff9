"""Shell completion of run ids, recipes, zones, providers, accelerators, formats and paths.

It never uses the network or a database server, and never prints an error, which would garble the
line that the user is typing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from carbon_trainer.ledger.location import RUNS_DIR, location_of
from carbon_trainer.reports.formats import FORMATS, PORTFOLIO_FILES

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _matches(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    prefix = incomplete.casefold()
    return [CompletionItem(name) for name in names if name.casefold().startswith(prefix)]


def _matches_with_help(texts: Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(item.value, help=texts[item.value] or None)
        for item in _matches(texts, incomplete)
    ]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete run ids of the ledger that the flags so far name, newest first, and ``last``."""
    from carbon_trainer.ledger.peek import runs_of_file

    folder = Path(ctx.params.get("runs_dir") or RUNS_DIR)
    location = location_of(ctx.params.get("ledger"), folder)
    if "://" in location:
        return []
    names = runs_of_file(Path(location))
    last = {"last": "the newest"} if names else {}
    return _matches_with_help({**last, **names}, incomplete)


def recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete recipes, or else files and folders, such as a pretrained model's."""
    from carbon_trainer.models.recipes import recipes as all_recipes

    return _matches(all_recipes(), incomplete) or [CompletionItem(incomplete, type="file")]


def zones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete zones that have an annual mean, with their names as help."""
    from carbon_trainer.grid.zones import ZoneFactors

    return _matches_with_help(ZoneFactors().zones(), incomplete)


def providers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete providers of carbon intensity."""
    from carbon_trainer.grid.providers import NAMES

    return _matches(NAMES, incomplete)


def boards(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the accelerators that have specifications here."""
    from carbon_trainer.hardware.accelerators import accelerators

    return _matches((board.name for board in accelerators()), incomplete)


def formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last report format of a comma-separated list; of many runs with ``--all``."""
    head, comma, last = incomplete.rpartition(",")
    listed = head.split(",")
    names = PORTFOLIO_FILES if ctx.params.get("many") else FORMATS
    return [
        CompletionItem(f"{head}{comma}{item.value}")
        for item in _matches((name for name in names if name not in listed), last)
    ]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete files and folders, which the shell does itself."""
    return [CompletionItem(incomplete, type="file")]


SETTINGS: Mapping[str, Completer] = {
    "model": recipes,
    "data": files,
    "zone": zones,
    "provider": providers,
    "trace": files,
    "runs_dir": files,
    "ledger": files,
}
"""How settings of a run are completed; click itself completes those that are choices."""
