"""What ``carbon-train recipes`` does."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.models.recipes import recipes


def list_recipes(family: str) -> None:
    """List all recipes, or those whose names begin with ``family``."""
    chosen = {name: one for name, one in recipes().items() if name.startswith(family)}
    if not chosen:
        families = {one.family for one in recipes().values()}
        raise InputError(
            f"there is no recipe that begins with {family!r}.{did_you_mean(family, families)} "
            f"There are {', '.join(sorted(families))}."
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "parameters", "context", "vocabulary", "peak learning rate"):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    sources: dict[str, None] = {}
    for name, one in chosen.items():
        table.add_row(
            name,
            f"{one.parameters():,}",
            f"{one.block_size:,}",
            f"{one.vocab_size:,}",
            f"{one.learning_rate:g}",
        )
        sources |= dict.fromkeys(
            f"{one.family}, {size}: {said}" for size, said in one.sources.items()
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print("\nShapes and learning rates are from:")
    for source in sources:
        console.print(f"  {source}")
