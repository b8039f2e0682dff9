"""A figure in a report: never a bare number, always with unit, method, uncertainty and origin."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

MEASURED = "measured"
ESTIMATED = "estimated"
ASSUMED = "assumed"
UNKNOWN = "unknown"
MISSING = "missing"

_WEAKNESS = {MEASURED: 0, ESTIMATED: 1, "as given": 1, ASSUMED: 2, UNKNOWN: 3, MISSING: 4}


def weakest(methods: Iterable[str]) -> str:
    """Return the method that a sum or product of such parts has: that of its weakest part.

    What the operator states of their own site (``as given``) counts as an estimate; a word that
    is not known counts as an assumption.
    """
    weakest_method = max(methods, key=lambda method: _WEAKNESS.get(method, 2), default=MISSING)
    rank = _WEAKNESS.get(weakest_method, 2)
    return (MEASURED, ESTIMATED, ASSUMED, UNKNOWN, MISSING)[rank]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Something that a figure is made from.

    Attributes:
        name: what it is, as the formula calls it.
        value: the number, or a text.
        unit: its unit; empty for a bare number.
        method: how it is known.
        figure: key of the figure that it is, where it is one.
        record: number of the ledger's record that states it, where a single record does.
        factor_id: of an emission factor: zone, accounting and vintage.
        source: who publishes it.
        vintage: of which year or edition.
    """

    name: str
    value: float | str | None
    unit: str = ""
    method: str = ""
    figure: str | None = None
    record: int | None = None
    factor_id: str | None = None
    source: str = ""
    vintage: str = ""

    @classmethod
    def from_figure(cls, figure: Figure) -> Input:
        """Take another figure as an input."""
        return cls(
            name=figure.label, value=figure.value, unit=figure.unit, method=figure.method,
            figure=figure.key,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        key: its stable name, also its anchor: ``energy``.
        label: its name for people.
        value: the number; None where it is missing.
        unit: the unit of ``value`` and ``sigma``.
        method: ``measured``, ``estimated``, ``assumed``, ``unknown`` or ``missing``.
        sigma: one standard deviation; 0 for a count that is exact, None where not known.
        basis: how it is made, in words: formula, inputs, factor, source, vintage.
        low: the lower end, where a range is known rather than a standard deviation.
        high: the upper end.
        formula: how it is made from ``inputs``.
        inputs: what it is made from.
    """

    key: str
    label: str
    value: float | None
    unit: str
    method: str
    sigma: float | None
    basis: str
    low: float | None = None
    high: float | None = None
    formula: str = ""
    inputs: tuple[Input, ...] = ()

    @classmethod
    def missing(cls, key: str, label: str, unit: str, reason: str) -> Figure:
        """Make a figure whose value is missing, with the reason."""
        return cls(
            key=key, label=label, value=None, unit=unit, method=MISSING, sigma=None, basis=reason
        )

    @classmethod
    def exact(cls, key: str, label: str, value: float, unit: str, basis: str) -> Figure:
        """Make a figure that is counted, or read off a clock: without uncertainty."""
        return cls(
            key=key, label=label, value=value, unit=unit, method=MEASURED, sigma=0.0, basis=basis
        )

    @property
    def relative(self) -> float | None:
        """Sigma as a share of the value; None where either is not known or the value is 0."""
        if self.value is None or self.sigma is None or self.value == 0:
            return None
        return self.sigma / abs(self.value)


def root_sum_square(parts: Iterable[float | None]) -> float | None:
    """Combine independent sigmas; one that is not known leaves the whole not known.

    GUM (JCGM 100:2008), 5.1.2.
    """
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += part * part
    return math.sqrt(total)


def linear_sum(parts: Iterable[float | None]) -> float | None:
    """Combine fully correlated sigmas (GUM, 5.2.2, note 1); one not known: the whole is not."""
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += abs(part)
    return total
