"""What ``carbon-train recipes`` does."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.models.recipes import recipes


def list_recipes(family: str) -> None:
    """List all recipes, or those whose names begin with ``family``."""
    matches = {name: recipe for name, recipe in recipes().items() if name.startswith(family)}
    if not matches:
        families = {recipe.family for recipe in recipes().values()}
        raise InputError(
            f"no recipe begins with {family!r}.{did_you_mean(family, families)} Families: "
            f"{', '.join(sorted(families))}."
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "parameters", "context", "vocabulary", "peak learning rate"):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    sources: dict[str, None] = {}
    for name, recipe in matches.items():
        table.add_row(
            name,
            f"{recipe.parameters():,}",
            f"{recipe.block_size:,}",
            f"{recipe.vocab_size:,}",
            f"{recipe.learning_rate:g}",
        )
        sources |= dict.fromkeys(
            f"{recipe.family}, {subject}: {source}" for subject, source in recipe.sources.items()
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print("\nSources of shapes and learning rates:")
    for source in sources:
        console.print(f"  {source}")
