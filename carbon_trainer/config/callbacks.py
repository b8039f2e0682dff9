"""The settings that callbacks and recorders take as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from carbon_trainer.config.run import RunConfig
from carbon_trainer.errors import InputError, did_you_mean


class RunSettings(TypedDict, total=False):
    """Settings of a run whose loop belongs to someone else; None is the same as not given.

    Type checkers need them spelled out; what they mean and their defaults are RunConfig's.
    """

    budget_kwh: float | None
    budget_kgco2e: float | None
    budget_cost: float | None
    price_per_kwh: float | None
    currency: str | None
    zone: str | None
    pue: float | None
    deadline: str | None
    objective: Literal["carbon", "cost", "blend"] | None
    carbon_price: float | None
    provider: str | None
    trace: str | Path | None
    max_wait: str | None
    release: Literal["auto", "yes", "no"] | None
    throttle: Literal["auto", "power-limit", "clocks", "duty-cycle", "off"] | None
    name: str | None
    project: str | None
    user: str | None
    organisation: str | None
    purpose: Literal["final", "development", "evaluation"] | None
    operation: Literal["own", "cloud", "colocation"] | None
    runs_dir: str | Path | None
    ledger: str | None
    host_metering: bool | None
    log_every: int | None
    communication_every: int | None
    prometheus_port: int | None
    on_meter_loss: Literal["estimate", "stop"] | None


def config_from_settings(owner: str, settings: Mapping[str, Any]) -> RunConfig:
    """Make a config from the arguments of a callback or recorder.

    Args:
        owner: the class whose arguments they are, for messages.
        settings: the arguments.

    Raises:
        InputError: if one is unknown or does not fit.
    """
    for name in settings:
        if name not in RunSettings.__annotations__:
            hint = did_you_mean(name, RunSettings.__annotations__)
            raise InputError(f"{owner} has no setting {name!r}.{hint}")
    values = {name: value for name, value in settings.items() if value is not None}
    return RunConfig.from_sources((owner, values))


def settings_of(config: RunConfig, *, explicit_only: bool = False) -> RunSettings:
    """Return a config's settings as arguments of a callback.

    Args:
        config: the settings.
        explicit_only: leave out those that were not given and have their default.
    """
    names = [
        name
        for name in RunSettings.__annotations__
        if not explicit_only or name in config.model_fields_set
    ]
    return cast(RunSettings, {name: getattr(config, name) for name in names})
