"""What a shell may complete: run ids, recipes, zones, providers, boards, formats, paths.

Nothing here asks the network or a database server, and nothing is said where nothing is found: the
person at the shell is in the middle of a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from carbon_trainer.ledger.location import RUNS_DIR, location_of
from carbon_trainer.reports.forms import FORMS, PORTFOLIO_FILES

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    folded = incomplete.casefold()
    return [CompletionItem(name) for name in names if name.casefold().startswith(folded)]


def _told(names: Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    found = _beginning(names, incomplete)
    return [CompletionItem(item.value, help=names[item.value] or None) for item in found]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run ids of the ledger that the flags so far name, the newest first, and ``last``."""
    from carbon_trainer.ledger.peek import runs_of_file

    folder = Path(ctx.params.get("runs_dir") or RUNS_DIR)
    location = location_of(ctx.params.get("ledger"), folder)
    if "://" in location:
        return []
    known = runs_of_file(Path(location))
    return _told({**({"last": "the newest"} if known else {}), **known}, incomplete)


def recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes; else files and folders, such as a pretrained model's."""
    from carbon_trainer.models.recipes import recipes as known

    return _beginning(known(), incomplete) or [CompletionItem(incomplete, type="file")]


def zones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Zones with an annual mean, with their names."""
    from carbon_trainer.grid.zones import ZoneFactors

    return _told(ZoneFactors().zones(), incomplete)


def providers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Providers of carbon intensity."""
    from carbon_trainer.grid.providers import NAMES

    return _beginning(NAMES, incomplete)


def boards(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Accelerators whose figures are known."""
    from carbon_trainer.hardware.accelerators import accelerators

    return _beginning((board.name for board in accelerators()), incomplete)


def formats(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Forms of a report, the last of a list with commas; those of many runs with ``--all``."""
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    known = PORTFOLIO_FILES if ctx.params.get("many") else FORMS
    return [
        CompletionItem(f"{before}{comma}{item.value}")
        for item in _beginning((name for name in known if name not in given), last)
    ]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and folders, as the shell completes them itself."""
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
"""How settings of a run are completed; choices are by their words."""
