"""Settings: declared once, in sections; composed into what ``fit`` and ``data prepare`` take.

A section is a module with a class of fields and the checks that concern them alone. Run files,
ledgers and checkpoints know no sections: there the names stand side by side.
"""

from carbon_trainer.config.base import COMMAND_LINE, Section
from carbon_trainer.config.budget import BudgetSettings
from carbon_trainer.config.callbacks import RunSettings, config_from_settings, settings_of
from carbon_trainer.config.files import read_yaml
from carbon_trainer.config.run import MeteredConfig, ResolvedConfig, RunConfig
from carbon_trainer.config.schedule import ScheduleSettings

__all__ = [
    "COMMAND_LINE",
    "BudgetSettings",
    "MeteredConfig",
    "ResolvedConfig",
    "RunConfig",
    "RunSettings",
    "ScheduleSettings",
    "Section",
    "config_from_settings",
    "read_yaml",
    "settings_of",
]
