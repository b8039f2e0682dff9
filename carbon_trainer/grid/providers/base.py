"""What a provider of carbon intensity is, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.grid.intensity import Accounting
from carbon_trainer.grid.series import IntensitySeries


class ProviderError(CarbonTrainerError):
    """A provider did not give what was asked; the message says who, what and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """What a provider offers.

    Attributes:
        name: as a user types it.
        title: for people.
        zones: which zones it knows, in words.
        accounting: what its values count.
        step_minutes: length of its slots.
        forecast_hours: how far its forecasts reach; 0 where it has none.
        keys: environment variables that it needs.
        licence: its data's licence.
    """

    name: str
    title: str
    zones: str
    accounting: Accounting
    step_minutes: int
    forecast_hours: int
    keys: tuple[str, ...]
    licence: str


class Provider(Protocol):
    """Tells a zone's intensity. It calls its service only in these two methods."""

    @property
    def info(self) -> ProviderInfo:
        """What it offers."""

    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast from now on.

        Raises:
            InputError: if it does not know the zone or a key is missing or wrong.
            ProviderError: if it does not answer, or not with a forecast.
        """

    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was, from ``start`` to ``end``. Raises as ``forecast`` does."""
