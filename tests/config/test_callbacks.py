"""What callbacks take as settings is what RunConfig has: neither can drift from the other."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.config import RunConfig, RunSettings, config_from_settings, settings_of
from carbon_trainer.config.budget import BudgetSettings
from carbon_trainer.config.grid import GridSettings
from carbon_trainer.config.monitoring import MonitoringSettings
from carbon_trainer.config.record import RecordSettings
from carbon_trainer.config.schedule import ScheduleSettings
from carbon_trainer.errors import InputError

FOR_CALLBACKS = (BudgetSettings, GridSettings, ScheduleSettings, RecordSettings, MonitoringSettings)

OF_THE_COMMAND = {"progress"}
"""Frameworks have displays of their own."""

TYPES = typing.get_type_hints(RunSettings)


def _alternatives(annotation: Any) -> set[Any]:
    """Return the types that a value may have, None aside; a path may be written as text."""
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    parts = set(typing.get_args(annotation)) if is_union else {annotation}
    plain = {part.__origin__ if hasattr(part, "__metadata__") else part for part in parts}
    return plain - {types.NoneType} - ({str} if Path in plain else set())


def test_callbacks_take_the_settings_of_these_sections() -> None:
    names = {name for section in FOR_CALLBACKS for name in section.model_fields}
    assert TYPES.keys() == names - OF_THE_COMMAND


@pytest.mark.parametrize("name", TYPES)
def test_a_setting_has_the_type_that_the_run_has(name: str) -> None:
    declared = typing.get_type_hints(RunConfig, include_extras=True)[name]
    assert _alternatives(TYPES[name]) == _alternatives(declared)


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        config_from_settings("CarbonAware", {"throtle": "off"})
    assert (
        str(caught.value) == "CarbonAware has no setting 'throtle'. Did you mean throttle or trace?"
    )


def test_a_setting_of_the_command_alone_is_refused() -> None:
    with pytest.raises(InputError, match="RunRecorder has no setting 'max_steps'"):
        config_from_settings("RunRecorder", {"max_steps": 3})


def test_a_value_that_does_not_fit_is_refused_in_the_callbacks_name() -> None:
    with pytest.raises(InputError, match=r"^RunRecorder: budget_kwh is -1, but should be"):
        config_from_settings("RunRecorder", {"budget_kwh": -1})


def test_none_is_the_same_as_not_given() -> None:
    config = config_from_settings("CarbonAware", {"zone": "GB", "currency": None, "pue": None})
    assert (config.currency, config.pue) == ("EUR", 1.0)
    assert settings_of(config, explicit_only=True) == {"zone": "GB"}


def test_a_configs_settings_make_the_same_config() -> None:
    config = RunConfig(budget_kwh=3, zone="GB", trace=Path("a.csv"), user="", log_every=3)
    assert config_from_settings("CarbonAware", settings_of(config)) == config
