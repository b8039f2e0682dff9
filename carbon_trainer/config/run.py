"""The sections composed: the settings of anything metered, and those of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import yaml
from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo

from carbon_trainer.config.base import COMMAND_LINE
from carbon_trainer.config.budget import BudgetSettings
from carbon_trainer.config.data import DataSettings
from carbon_trainer.config.grid import GridSettings
from carbon_trainer.config.model import ModelSettings
from carbon_trainer.config.monitoring import MonitoringSettings
from carbon_trainer.config.parallel import ParallelSettings
from carbon_trainer.config.record import RecordSettings
from carbon_trainer.config.schedule import ScheduleSettings
from carbon_trainer.config.training import TrainingSettings
from carbon_trainer.errors import InputError, nearest
from carbon_trainer.ledger.location import without_password


class MeteredConfig(RecordSettings, GridSettings, BudgetSettings):
    """Settings of whatever is metered and recorded as a run: a training, a preparation of data.

    Raises:
        pydantic.ValidationError: when made directly from values that do not fit; ``from_sources``
            turns that into one InputError.
    """

    command: ClassVar[str] = ""
    """The command whose ``--help`` lists the settings."""

    nested: ClassVar[tuple[str, ...]] = ()
    """Settings that have parts, and therefore no flag."""

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Return the settings that a file or flags may have, by name."""
        return dict(cls.model_fields)

    @classmethod
    def from_sources(cls, *sources: tuple[str, Mapping[str, Any]]) -> Self:
        """Make a config from several places; a later one overrides an earlier one.

        Args:
            sources: pairs of the place's name (``run.yaml``, ``flags``) and its settings.

        Raises:
            InputError: naming the place, the setting and what would be right.
        """
        merged: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for place, values in sources:
            for key, value in values.items():
                if key not in cls.model_fields:
                    raise InputError(f"{place}: {cls.unknown_setting(key)}")
                merged[key] = value
                origin[key] = place
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise InputError(cls._first_problem(error, origin)) from error

    @classmethod
    def unknown_setting(cls, key: str) -> str:
        """Say that there is no such setting, and which is nearest."""
        near = nearest(key, cls.settings(), count=1)
        hint = (
            f"Did you mean {near[0]}?"
            if near
            else f"`carbon-train {cls.command} --help` lists them."
        )
        return f"there is no setting {key!r}. {hint}"

    def to_yaml(self) -> str:
        """Write the config as YAML that its command reads back as the same config."""
        values, readable = self.to_json(), self.settings()
        values = {name: value for name, value in values.items() if name in readable}
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON types, as the ledger and checkpoints keep it."""
        values = self.model_dump(mode="json")
        if self.ledger:
            values["ledger"] = without_password(self.ledger)
        return values

    @classmethod
    def _first_problem(cls, error: ValidationError, origin: Mapping[str, str]) -> str:
        problem = error.errors(include_url=False)[0]
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        if not problem["loc"]:
            return f"{message}."
        key, *inner = problem["loc"]
        place = origin.get(str(key), "settings")
        if inner and str(key) in cls.nested:
            parts = (f"entry {part + 1}" if isinstance(part, int) else part for part in inner)
            return f"{place}: {key}, {', '.join(parts)}: {message[0].lower()}{message[1:]}."
        unit = cls._unit(str(key))
        expected = f"{message} ({unit})" if unit else message
        where = f"--{str(key).replace('_', '-')}" if place == COMMAND_LINE else f"{place}: {key}"
        return f"{where} is {problem['input']!r}, but should be {expected}."

    @classmethod
    def _unit(cls, key: str) -> str | None:
        extra = cls.model_fields[key].json_schema_extra if key in cls.model_fields else None
        return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


# Fields come from the last base to the first, and so do a printed config's and --help's lines.
class RunConfig(
    MeteredConfig,
    MonitoringSettings,
    RecordSettings,
    ScheduleSettings,
    GridSettings,
    BudgetSettings,
    ParallelSettings,
    TrainingSettings,
    DataSettings,
    ModelSettings,
):
    """All settings of a training run. The same names serve as YAML keys, flags and arguments.

    Raises:
        pydantic.ValidationError: when made directly from values that do not fit; ``from_sources``
            turns that into one InputError.
    """

    command: ClassVar[str] = "fit"

    @model_validator(mode="after")
    def _check_sections_together(self) -> Self:
        if self.tensor_parallel > 1 and self.lora_rank is not None:
            raise ValueError("tensor_parallel does not go with lora_rank: use strategy ddp")
        if self.objective != "carbon" and self.price_per_kwh is None:
            raise ValueError("objective needs price_per_kwh where it is not carbon: give the price")
        if self.objective == "blend" and self.carbon_price is None:
            raise ValueError("objective blend needs carbon_price: money per tonne of CO2e")
        if self.provider is not None and self.zone is None:
            raise ValueError("provider needs zone: which grid it is asked for")
        return self


class ResolvedConfig(RunConfig):
    """A run's settings with nothing left open that training needs: see ``with_defaults``."""

    vocab_size: int
    block_size: int
    max_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    validate_every: int
    checkpoint_every: int
