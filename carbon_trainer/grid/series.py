"""Carbon intensity over time: what was observed or forecast, and what filled the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carbon_trainer.clock import NS_PER_S
from carbon_trainer.errors import InputError
from carbon_trainer.grid.intensity import Accounting

GRAMS_PER_POUND = 453.59237
"""International avoirdupois pound (NIST Handbook 44, appendix C)."""


class Basis(IntEnum):
    """Where one value of a series comes from, best first."""

    OBSERVED = 0
    FORECAST = 1
    ESTIMATED = 2
    """The provider says that it was estimated."""

    INTERPOLATED = 3
    """A short gap, bridged by its neighbours."""

    PAST_DAYS = 4
    """The mean of the same hour of past days."""

    CLIMATOLOGY = 5
    """The zone's typical daily profile by month and hour, scaled to the forecast."""

    CONSTANT = 6

    @property
    def text(self) -> str:
        """Return its name for people."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInfo:
    """The description of a series; series of different accounting are never mixed.

    Attributes:
        zone: the grid's code, as its provider writes it.
        provider: where it is from: ``gb-neso``, ``csv``, ``climatology``.
        accounting: what is counted.
        source: who published it, for citing.
        licence: the data's licence.
        issued_at: when a forecast was made; None for observations.
        notes: repairs and fallbacks, a sentence each.
    """

    zone: str
    provider: str
    accounting: Accounting
    source: str
    licence: str
    issued_at: datetime | None = None
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> SeriesInfo:
        """Return it with more notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True, slots=True, eq=False)
class IntensitySeries:
    """A step function over UTC, without gaps: value i holds for ``step_ns`` from its start.

    Attributes:
        info: what it is.
        start_ns: start of the first slot, nanoseconds since the epoch.
        step_ns: length of a slot, nanoseconds.
        intensity_gco2e_per_kwh: grams of CO2 equivalent per kilowatt hour, shape (n,).
        basis: a ``Basis`` for each, shape (n,).

    Raises:
        InputError: if a value is negative or not a number, or there is none.
    """

    info: SeriesInfo
    start_ns: int
    step_ns: int
    intensity_gco2e_per_kwh: NDArray[np.float64]
    basis: NDArray[np.uint8]

    def __post_init__(self) -> None:
        values = self.intensity_gco2e_per_kwh
        if len(values) == 0 or self.step_ns <= 0 or values.shape != self.basis.shape:
            raise InputError(f"the intensity of {self.info.zone} has no values")
        bad = np.flatnonzero(~np.isfinite(values) | (values < 0))
        if len(bad):
            when = self.time(int(bad[0])).isoformat()
            raise InputError(
                f"the intensity of {self.info.zone} at {when} is {values[bad[0]]:g} g/kWh: "
                "it must be a number of at least 0"
            )

    def __len__(self) -> int:
        return len(self.intensity_gco2e_per_kwh)

    @classmethod
    def constant(
        cls, info: SeriesInfo, gco2e_per_kwh: float, start_ns: int, end_ns: int
    ) -> IntensitySeries:
        """Return one value that holds from ``start_ns`` to ``end_ns``."""
        basis = np.array([Basis.CONSTANT], np.uint8)
        return cls(info, start_ns, end_ns - start_ns, np.array([gco2e_per_kwh]), basis)

    @property
    def end_ns(self) -> int:
        """The instant at which the last slot ends."""
        return self.start_ns + self.step_ns * len(self)

    @property
    def index(self) -> pd.DatetimeIndex:
        """Starts of slots, UTC."""
        return pd.DatetimeIndex(
            self.start_ns + self.step_ns * np.arange(len(self)), tz="UTC", name="time_utc"
        )

    def time(self, slot: int) -> datetime:
        """Return the start of a slot."""
        return datetime.fromtimestamp((self.start_ns + slot * self.step_ns) / NS_PER_S, UTC)

    def covers(self, start_ns: int, end_ns: int) -> bool:
        """Whether it has values for all of a span."""
        return self.start_ns <= start_ns and end_ns <= self.end_ns

    def at(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the intensity at instants that it covers, g/kWh, shape (n,)."""
        return np.asarray(self.intensity_gco2e_per_kwh[self.slots(times_ns)], np.float64)

    def slots(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots in which instants lie; the first or last for those outside."""
        return np.clip((times_ns - self.start_ns) // self.step_ns, 0, len(self) - 1)

    def mean(self, start_ns: int, end_ns: int) -> float:
        """Return the mean intensity over a span that it covers, g/kWh."""
        # The end is exclusive, so a span that ends on an edge does not touch the next slot.
        ends_ns = np.array([start_ns, max(start_ns, end_ns - 1)], np.int64)
        first, last = (int(slot) for slot in self.slots(ends_ns))
        if first == last:
            return float(self.intensity_gco2e_per_kwh[first])
        inner_ns = self.start_ns + self.step_ns * np.arange(first + 1, last + 1, dtype=np.int64)
        lengths_ns = np.diff(inner_ns, prepend=start_ns, append=end_ns)
        return float(np.average(self.intensity_gco2e_per_kwh[first : last + 1], weights=lengths_ns))

    def between(self, start_ns: int, end_ns: int) -> IntensitySeries:
        """Return the slots that touch a span."""
        first = max(0, (start_ns - self.start_ns) // self.step_ns)
        last = min(len(self), -(-(end_ns - self.start_ns) // self.step_ns))
        if first >= last:
            raise InputError(
                f"the intensity of {self.info.zone} from {self.info.provider} does not cover "
                f"{iso(start_ns)} to {iso(end_ns)}: it runs from {iso(self.start_ns)} to "
                f"{iso(self.end_ns)}"
            )
        return dataclasses.replace(
            self,
            start_ns=self.start_ns + first * self.step_ns,
            intensity_gco2e_per_kwh=self.intensity_gco2e_per_kwh[first:last],
            basis=self.basis[first:last],
        )

    def extend(self, later: IntensitySeries, *note: str) -> IntensitySeries:
        """Return this series continued by another from its own end on, in its own steps.

        Raises:
            InputError: if they count different things.
        """
        same_accounting(self, later)
        count = max(0, -(-(later.end_ns - self.end_ns) // self.step_ns))
        times = self.end_ns + self.step_ns * np.arange(count, dtype=np.int64)
        middles = times + self.step_ns // 2
        return dataclasses.replace(
            self,
            info=self.info.with_notes(*note),
            intensity_gco2e_per_kwh=np.concatenate(
                [self.intensity_gco2e_per_kwh, later.at(middles)]
            ),
            basis=np.concatenate([self.basis, later.basis[later.slots(middles)]]),
        )

    def bases(self) -> list[Basis]:
        """Return what its values come from, best first."""
        return [Basis(code) for code in np.unique(self.basis)]


def same_accounting(*series: IntensitySeries) -> Accounting:
    """Return what several series count.

    Raises:
        InputError: if it is not the same thing; average and marginal, life-cycle and direct
            intensities answer different questions and cannot be added or compared.
    """
    kinds: Sequence[Accounting] = list(dict.fromkeys(part.info.accounting for part in series))
    if len(kinds) > 1:
        names = " with ".join(f"{part.info.provider} ({part.info.accounting})" for part in series)
        raise InputError(
            f"intensities that count different things cannot be mixed: {names}. Choose sources of "
            "one kind"
        )
    return kinds[0]


def iso(time_ns: int) -> str:
    """Write an instant in ISO 8601, UTC, to the millisecond where it has a fraction."""
    time = datetime.fromtimestamp(time_ns // 1_000_000 / 1000, UTC)
    spec = "milliseconds" if time.microsecond else "seconds"
    return time.isoformat(timespec=spec).replace("+00:00", "Z")
