"""A grid's carbon intensity, never without its kind, source and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Accounting = Literal["average lifecycle", "average direct", "marginal direct", "as given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """One carbon intensity that holds for all of a run.

    Attributes:
        zone: the grid's code: ``GB``, ``US-CA``, ``world``.
        zone_name: its name for people.
        intensity_gco2e_per_kwh: grams of CO2 equivalent per kilowatt hour used.
        method: ``estimated`` (a published factor) or ``assumed`` (nobody said where).
        accounting: what is counted; figures of different accounting are never mixed.
        source: who published it.
        vintage: the year that it describes.
        licence: the data's licence.
        uncertainty: relative one-sigma error when used for a run.
        uncertainty_basis: where that error comes from.
    """

    zone: str
    zone_name: str
    intensity_gco2e_per_kwh: float
    method: Literal["estimated", "assumed"]
    accounting: Accounting
    source: str
    vintage: str
    licence: str
    uncertainty: float
    uncertainty_basis: str

    def same_figure_as(self, other: Intensity) -> bool:
        """Whether emissions come out the same by both."""
        return (self.zone, self.accounting, self.intensity_gco2e_per_kwh) == (
            other.zone, other.accounting, other.intensity_gco2e_per_kwh,
        )  # fmt: skip
