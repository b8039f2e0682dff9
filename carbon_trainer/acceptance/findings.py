"""What a part has found: figures, checks of promises, tables; and what became of the part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from carbon_trainer.energy.sources.base import Method

SCHEMA = "carbon-trainer/acceptance/1"

PartStatus = Literal["passed", "failed", "not possible", "error", "not run"]

Cell = str | float | int | None


class NotPossibleError(Exception):
    """A part is not possible here, through no fault of the GPU's or ours; says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that was found.

    Attributes:
        name: what it is.
        value: it, in ``unit``; None where it is not available.
        unit: its unit; empty for a plain number.
        sigma: one standard deviation, in ``unit``; None where it is not known.
        method: measured, estimated or assumed.
        note: how it was found.
    """

    name: str
    value: float | None
    unit: str
    sigma: float | None = None
    method: Method = Method.MEASURED
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, and whether it holds here.

    Attributes:
        promise: what must hold.
        holds: whether it does.
        found: what was found, for people.
    """

    promise: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of what was found.

    Attributes:
        caption: what it shows.
        columns: their names, with units.
        rows: their cells.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(slots=True)
class Findings:
    """What a part gathers while it runs.

    Attributes:
        changed: called after each finding, so that none is lost if the part does not end.
    """

    changed: Callable[[Findings], None] = lambda _: None
    figures: list[Figure] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    tables: list[Rows] = field(default_factory=list)

    def figure(
        self,
        name: str,
        value: float | None,
        unit: str,
        *,
        sigma: float | None = None,
        method: Method = Method.MEASURED,
        note: str = "",
    ) -> None:
        """Note a figure."""
        known = value if value is not None and math.isfinite(value) else None
        self.figures.append(Figure(name, known, unit, sigma, method, note))
        self.changed(self)

    def check(self, promise: str, holds: bool, found: str) -> None:
        """Note whether a promise holds."""
        self.checks.append(Check(promise, bool(holds), found))
        self.changed(self)

    def table(self, caption: str, columns: tuple[str, ...], rows: list[tuple[Cell, ...]]) -> None:
        """Note a table."""
        self.tables.append(Rows(caption, columns, tuple(rows)))
        self.changed(self)


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Attributes:
        name: the part's.
        title: for people.
        status: what became of it.
        seconds: how long it took.
        reason: why it was not possible, was not run, or stopped.
        figures: what it found.
        checks: which promises hold.
        tables: what else it found.
    """

    name: str
    title: str
    status: PartStatus
    seconds: float
    reason: str = ""
    figures: tuple[Figure, ...] = ()
    checks: tuple[Check, ...] = ()
    tables: tuple[Rows, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> PartResult:
        """Return the result that plain values tell of."""
        return cls(
            name=document["name"],
            title=document["title"],
            status=document["status"],
            seconds=document["seconds"],
            reason=document["reason"],
            figures=tuple(
                Figure(**{**one, "method": Method(one["method"])}) for one in document["figures"]
            ),
            checks=tuple(Check(**one) for one in document["checks"]),
            tables=tuple(
                Rows(one["caption"], tuple(one["columns"]), tuple(map(tuple, one["rows"])))
                for one in document["tables"]
            ),
        )
