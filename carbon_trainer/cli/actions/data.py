"""What ``carbon-train data prepare`` does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from carbon_trainer.cli.options import explicit_settings
from carbon_trainer.config import COMMAND_LINE, read_yaml
from carbon_trainer.curation.config import PrepareConfig

YAML = (".yaml", ".yml")


def prepare(source: tuple[Path, ...], print_config: bool, **flags: Any) -> None:
    """Make a dataset of texts, or print the settings that would hold."""
    files = [path for path in source if path.suffix in YAML]
    places = [(str(path), read_yaml(path, PrepareConfig)) for path in files]
    texts = [path for path in source if path.suffix not in YAML]
    config = PrepareConfig.from_sources(
        *places, (COMMAND_LINE, {**explicit_settings(flags), "data": texts})
    )
    if print_config:
        click.echo(config.to_yaml(), nl=False)
        return
    # Slow to import: neither an error in the settings nor --print-config should wait for it.
    from carbon_trainer.cli.actions.preparation import prepare_dataset

    sys.exit(prepare_dataset(config))
