"""A part's findings: figures, checks of promises, tables; and its result."""

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
    """A part is not possible here, and neither the GPU nor this package is at fault; says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        name: its name, for people.
        value: its value in ``unit``; None where it is not available.
        unit: its unit; empty for a plain number.
        sigma: one standard deviation, in ``unit``; None where it is unknown.
        method: measured, estimated or assumed.
        note: how it was determined.
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
        found: the result, for people.
    """

    promise: str
    holds: bool
    found: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of findings.

    Attributes:
        caption: its title.
        columns: their names, with units.
        rows: their cells.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(slots=True)
class Findings:
    """Collects a part's findings while it runs.

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
        """Add a figure."""
        available = value if value is not None and math.isfinite(value) else None
        self.figures.append(Figure(name, available, unit, sigma, method, note))
        self.changed(self)

    def check(self, promise: str, holds: bool, details: str) -> None:
        """Add the check of a promise."""
        self.checks.append(Check(promise, bool(holds), details))
        self.changed(self)

    def table(self, caption: str, columns: tuple[str, ...], rows: list[tuple[Cell, ...]]) -> None:
        """Add a table."""
        self.tables.append(Rows(caption, columns, tuple(rows)))
        self.changed(self)


@dataclass(frozen=True, slots=True)
class PartResult:
    """A part's result.

    Attributes:
        name: the part's name.
        title: its title, for people.
        status: how it ended.
        seconds: its duration.
        reason: why it was not possible, was not run, or stopped.
        figures: its figures.
        checks: its checks of promises.
        tables: its tables.
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
        """Return the result from plain values."""
        return cls(
            name=document["name"],
            title=document["title"],
            status=document["status"],
            seconds=document["seconds"],
            reason=document["reason"],
            figures=tuple(
                Figure(**{**figure, "method": Method(figure["method"])})
                for figure in document["figures"]
            ),
            checks=tuple(Check(**check) for check in document["checks"]),
            tables=tuple(
                Rows(table["caption"], tuple(table["columns"]), tuple(map(tuple, table["rows"])))
                for table in document["tables"]
            ),
        )
