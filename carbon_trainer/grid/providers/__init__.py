"""Providers of carbon intensity, by name. None is asked unless its name was given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from carbon_trainer.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from carbon_trainer.grid.providers.base import Provider, ProviderInfo
    from carbon_trainer.grid.providers.http import Patience, Web

NAMES = ("gb-neso", "energy-charts", "electricity-maps", "watttime", "entsoe", "eia")


def infos() -> list[ProviderInfo]:
    """Return what each provider offers; asks none."""
    from carbon_trainer.grid.providers import (
        eia,
        electricity_maps,
        energy_charts,
        entsoe,
        gb_neso,
        watttime,
    )

    modules = (gb_neso, energy_charts, electricity_maps, watttime, entsoe, eia)
    return [module.INFO for module in modules]


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
        cache_dir: where answers are kept; the user's cache folder by default.
        patience: how long to try.

    Raises:
        InputError: if there is none of that name, or it needs a key that is not there.
    """
    if name not in NAMES:
        raise InputError(
            f"there is no provider {name!r}.{did_you_mean(name, NAMES)} Known are "
            f"{', '.join(NAMES)}"
        )
    from carbon_trainer.grid.providers.http import Web

    info = next(info for info in infos() if info.name == name)
    web = Web(
        name,
        key_name=" and ".join(info.keys),
        cache_dir=cache_dir,
        expire=timedelta(minutes=min(info.step_minutes, 30)),
        patience=patience,
    )
    return _made(name, web, environ, url)


def _made(name: str, web: Web, environ: Mapping[str, str], url: str | None) -> Provider:
    from carbon_trainer.grid.providers import eia, entsoe
    from carbon_trainer.grid.providers import electricity_maps as em
    from carbon_trainer.grid.providers import energy_charts as ec
    from carbon_trainer.grid.providers import gb_neso as gb
    from carbon_trainer.grid.providers import watttime as wt

    makers: dict[str, Callable[[], Provider]] = {
        "gb-neso": lambda: gb.GbNeso(web, url or gb.URL),
        "energy-charts": lambda: ec.EnergyCharts(web, url or ec.URL),
        "electricity-maps": lambda: em.ElectricityMaps(web, environ.get(em.KEY), url or em.URL),
        "watttime": lambda: wt.WattTime(
            web, environ.get(wt.USER), environ.get(wt.PASSWORD), url or wt.URL
        ),
        "entsoe": lambda: entsoe.Entsoe(web, environ.get(entsoe.KEY)),
        "eia": lambda: eia.Eia(web, environ.get(eia.KEY), url or eia.URL),
    }
    return makers[name]()
