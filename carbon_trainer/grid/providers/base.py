"""The base class of all providers of carbon intensity, and how they fail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from carbon_trainer.errors import CarbonTrainerError, InputError
from carbon_trainer.grid.intensity import Accounting
from carbon_trainer.grid.series import IntensitySeries, SeriesInfo

if TYPE_CHECKING:
    from carbon_trainer.grid.providers.http import Web


class ProviderError(CarbonTrainerError):
    """A provider did not return the data; the message says which, why and what to do."""


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


class Provider(ABC):
    """A service that publishes zones' intensity. Only the two methods call it.

    Args:
        web: asks the service.
        environ: the environment, for keys.
        url: the service's address; its public one by default.

    Raises:
        InputError: if it needs a key that is not in the environment.

    Attributes:
        info: what it offers.
    """

    info: ClassVar[ProviderInfo]
    public_url: ClassVar[str] = ""

    def __init__(self, web: Web, environ: Mapping[str, str], url: str | None = None) -> None:
        self._web = web
        self._url = url or self.public_url
        self._keys = tuple(environ.get(name, "") for name in self.info.keys)
        if not all(self._keys):
            names = " and ".join(self.info.keys)
            raise InputError(f"{self.info.name} needs a key: set {names} in the environment")

    @abstractmethod
    def forecast(self, zone: str, now: datetime) -> IntensitySeries:
        """Return the newest forecast from now on.

        Raises:
            InputError: if it does not know the zone or a key is missing or wrong.
            ProviderError: if it does not answer, or not with a forecast.
        """

    @abstractmethod
    def history(self, zone: str, start: datetime, end: datetime) -> IntensitySeries:
        """Return what was observed from ``start`` to ``end``. Raises as ``forecast`` does."""

    def _series_info(
        self,
        zone: str,
        *,
        stale: bool = False,
        issued_at: datetime | None = None,
        notes: Iterable[str] = (),
    ) -> SeriesInfo:
        """Return the description of a series of this provider.

        Args:
            zone: the zone that was asked for.
            stale: whether it is made from an old answer, as the service gave no new one.
            issued_at: when a forecast was issued.
            notes: further notes.
        """
        info = self.info
        stale_note = f"{info.name} did not answer: its earlier answer is used"
        return SeriesInfo(
            zone=zone,
            provider=info.name,
            accounting=info.accounting,
            source=info.title,
            licence=info.licence,
            issued_at=issued_at,
            notes=(*([stale_note] if stale else []), *notes),
        )


def utc_text(when: datetime, pattern: str = "%Y-%m-%dT%H:%MZ") -> str:
    """Return an instant as services take it, in UTC."""
    return when.astimezone(UTC).strftime(pattern)
