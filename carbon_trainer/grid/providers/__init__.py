"""Providers of carbon intensity, by name. None is asked unless it is named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from carbon_trainer.grid.providers.base import Provider, ProviderInfo
    from carbon_trainer.grid.providers.http import Patience

CLASSES = {
    "gb-neso": ("gb_neso", "GbNeso"),
    "energy-charts": ("energy_charts", "EnergyCharts"),
    "electricity-maps": ("electricity_maps", "ElectricityMaps"),
    "watttime": ("watttime", "WattTime"),
    "entsoe": ("entsoe", "Entsoe"),
    "eia": ("eia", "Eia"),
}
"""Each provider's module and class: imported by name, as the shell completes names without them."""

NAMES = tuple(CLASSES)


def infos() -> list[ProviderInfo]:
    """Return what each provider offers; asks none."""
    return [_class_of(name).info for name in NAMES]


def provider(
    name: str,
    *,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
    cache_dir: Path | None = None,
    patience: Patience | None = None,
) -> Provider:
    """Return a provider by its name.

    Args:
        name: one of ``NAMES``.
        url: where its service is; its public address by default.
        environ: where keys are.
        cache_dir: where answers are cached; the user's cache folder by default.
        patience: how long to try.

    Raises:
        InputError: if there is none of that name, or it needs a key that is not there.
    """
    if name not in NAMES:
        raise InputError(
            f"there is no provider {name!r}.{did_you_mean(name, NAMES)} Available are "
            f"{', '.join(NAMES)}"
        )
    # Here, as requests and its cache are wanted by none who only list names.
    from carbon_trainer.grid.providers.http import Web

    provider_class = _class_of(name)
    info = provider_class.info
    web = Web(
        name,
        key_name=" and ".join(info.keys),
        cache_dir=cache_dir,
        expire=timedelta(minutes=min(info.step_minutes, 30)),
        patience=patience,
    )
    return provider_class(web, environ, url)


def _class_of(name: str) -> type[Provider]:
    module, class_name = CLASSES[name]
    provider_class: type[Provider] = getattr(
        importlib.import_module(f"carbon_trainer.grid.providers.{module}"), class_name
    )
    return provider_class
