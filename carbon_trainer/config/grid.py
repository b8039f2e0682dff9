"""Which grid the machines draw from."""

from __future__ import annotations

from typing import ClassVar

from carbon_trainer.config.base import Section, setting


class GridSettings(Section):
    """The grid, and the building between it and the machines."""

    title: ClassVar[str] = "Grid"

    zone: str | None = setting(
        None,
        "Grid zone: ISO country code or US state (GB, DE, US-CA). None: world average, assumed.",
    )
    pue: float = setting(
        1.0,
        "Power usage effectiveness: energy of the building over energy of the machines.",
        ge=1,
        le=5,
        allow_inf_nan=False,
    )
