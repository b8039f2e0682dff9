"""``carbon-train recipes``: the architectures and sizes that can be trained by name."""

from __future__ import annotations

import click


@click.command("recipes")
@click.argument("family", required=False, default="")
def command(family: str) -> None:
    """List all recipes, or those whose names begin with FAMILY.

    A recipe is an architecture in one size. Train it with `carbon-train fit --recipe NAME`.
    """
    from carbon_trainer.cli.actions.recipes import list_recipes

    list_recipes(family)
