"""How clean the electricity was: carbon intensity and where the figure comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.grid.csv import read_csv, read_prices
    from carbon_trainer.grid.intensity import Intensity
    from carbon_trainer.grid.providers import provider
    from carbon_trainer.grid.providers.base import Provider, ProviderError, ProviderInfo
    from carbon_trainer.grid.series import Basis, IntensitySeries, SeriesInfo
    from carbon_trainer.grid.zones import ZoneFactors
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.grid.csv": ["read_csv", "read_prices"],
            "carbon_trainer.grid.intensity": ["Intensity"],
            "carbon_trainer.grid.providers": ["provider"],
            "carbon_trainer.grid.providers.base": ["Provider", "ProviderError", "ProviderInfo"],
            "carbon_trainer.grid.series": ["Basis", "IntensitySeries", "SeriesInfo"],
            "carbon_trainer.grid.zones": ["ZoneFactors"],
        },
    )

__all__ = [
    "Basis",
    "Intensity",
    "IntensitySeries",
    "Provider",
    "ProviderError",
    "ProviderInfo",
    "SeriesInfo",
    "ZoneFactors",
    "provider",
    "read_csv",
    "read_prices",
]
