"""Which runs of a ledger a portfolio takes, and in which period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.sums import NS_PER_DAY
from carbon_trainer.reports.figures.text import time_iso
from carbon_trainer.reports.portfolio.runs import RunFacts

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run must be to be taken; None: anything.

    Energy counts on the UTC day on which it was used, so a run over New Year is in both years with
    what it used in each.

    Attributes:
        first, last: days of the period, both included.
    """

    project: str | None = None
    user: str | None = None
    purpose: str | None = None
    status: str | None = None
    zone: str | None = None
    first: date | None = None
    last: date | None = None

    def matches(self, run: RunFacts) -> bool:
        """Say whether a run is one of those that are meant, the period aside."""
        criteria = (
            (self.project, run.project), (self.user, run.user), (self.purpose, run.purpose),
            (self.status, run.status),
        )  # fmt: skip
        if any(required is not None and required != value for required, value in criteria):
            return False
        return self.zone is None or self.zone in run.zones

    @property
    def has_period(self) -> bool:
        """Whether days are chosen."""
        return self.first is not None or self.last is not None

    def days(self, day: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say which days (counted from 1970-01-01) lie in the period."""
        inside = np.ones(len(day), dtype=bool)
        if self.first is not None:
            inside &= day >= (self.first - _EPOCH).days
        if self.last is not None:
            inside &= day <= (self.last - _EPOCH).days
        return inside

    def starts_in(self, run: RunFacts) -> bool:
        """Say whether a run begins in the period."""
        return bool(self.days(np.array([run.started_ns // NS_PER_DAY], dtype=np.int64))[0])

    def period_or(self, start_ns: int, end_ns: int) -> tuple[str, str]:
        """Return the period as ISO 8601; from the first start to the last end where none is set."""
        start = time_iso(start_ns) if self.first is None else _midnight(self.first)
        end = time_iso(end_ns) if self.last is None else _midnight(self.last + timedelta(days=1))
        return start, end

    @property
    def text(self) -> str:
        """Write what is selected, for people."""
        names = ("project", "user", "purpose", "status", "zone")
        parts = [f"of {name} {getattr(self, name)!r}" for name in names if getattr(self, name)]
        if self.first is not None:
            parts.append(f"from {self.first}")
        if self.last is not None:
            parts.append(f"to {self.last}")
        return " ".join(parts) or "at all"


def selection_of(
    *, project: str | None = None, user: str | None = None, purpose: str | None = None,
    status: str | None = None, zone: str | None = None, year: int | None = None,
    first: str | None = None, last: str | None = None,
) -> Selection:  # fmt: skip
    """Make a selection from what a person typed.

    Raises:
        InputError: if a day is none, or the period is empty.
    """
    if year is not None and (first or last):
        raise InputError("--year and --from/--to name two periods: give one of them.")
    begin, end = _day("--from", first), _day("--to", last)
    if year is not None:
        if not 1970 <= year <= 9998:
            raise InputError(f"--year is {year}, but should be a year such as 2026.")
        begin, end = date(year, 1, 1), date(year, 12, 31)
    if begin and end and begin > end:
        raise InputError(f"--from {begin} is after --to {end}: the period is empty.")
    return Selection(project, user, purpose, status, zone, begin, end)


def _day(flag: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{flag} is {text!r}, but should be a day such as 2026-04-01.") from None


def _midnight(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat(timespec="milliseconds")
