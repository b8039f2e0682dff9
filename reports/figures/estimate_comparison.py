"""The estimate made before a run, compared with the actual figures.

The estimate is for the planned tokens. A run that ended earlier, or trained longer, is compared
with the part of the estimate that its tokens are of the planned ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.ledger.facts import EstimateMade
from carbon_trainer.reports.figures.figure import ESTIMATED, Figure, Input, weakest
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.record.run_record import RunRecord

SECONDS_PER_HOUR = 3600

_NOUNS = {"hours": "Training hours", "energy": "Energy of the facility"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, estimated and actual.

    Attributes:
        estimated: before the run, with the ends of its interval.
        actual: from the record.
        ratio: actual over estimated.
    """

    estimated: Figure
    actual: Figure
    ratio: Figure

    @property
    def is_inside(self) -> bool:
        """Whether the actual value lies in the interval."""
        low, high, actual = self.estimated.low, self.estimated.high, self.actual.value
        return None not in (low, high, actual) and (low or 0) <= (actual or 0) <= (high or 0)


@dataclass(frozen=True, slots=True)
class EstimateComparison:
    """An estimate that was made before a run, compared with the run.

    Attributes:
        fact: the estimate.
        tokens: those trained; their share of the planned ones is the share that is compared.
        hours: of all devices working in parallel.
        energy: of the facility.
    """

    fact: EstimateMade
    tokens: float
    hours: Comparison
    energy: Comparison

    def figures(self) -> tuple[Figure, ...]:
        """Return the figures that are not elsewhere in the report."""
        hours, energy = self.hours, self.energy
        return (hours.estimated, hours.actual, hours.ratio, energy.estimated, energy.ratio)


def estimate_comparison_of(
    record: RunRecord, active_time: Figure, facility: Figure, tokens: Figure
) -> EstimateComparison | None:
    """Compare a run's first estimate with the run; None where either is missing."""
    estimates = record.facts_of(EstimateMade)
    if not estimates or not tokens.value or active_time.value is None or facility.value is None:
        return None
    seq, fact = estimates[0].seq, estimates[0].fact
    share = tokens.value / fact.tokens
    actual_hours = Figure(
        key="training-hours", label=_NOUNS["hours"], unit="h",
        value=active_time.value / SECONDS_PER_HOUR, method=active_time.method,
        sigma=None if active_time.sigma is None else active_time.sigma / SECONDS_PER_HOUR,
        basis="Active time in hours.", formula="active time / 3600",
        inputs=(Input.from_figure(active_time),),
    )  # fmt: skip
    spread = (fact.hours, fact.hours_low, fact.hours_high)
    hours = _estimated("hours", "h", spread, share, fact, seq)
    spread = (fact.energy_kwh, fact.energy_low_kwh, fact.energy_high_kwh)
    energy = _estimated("energy", "kWh", spread, share, fact, seq)
    return EstimateComparison(
        fact,
        tokens.value,
        _comparison(hours, actual_hours, "hours"),
        _comparison(energy, facility, "energy"),
    )


def _estimated(
    quantity: str, unit: str, spread: tuple[float, float, float], share: float, fact: EstimateMade,
    seq: int,
) -> Figure:  # fmt: skip
    value, low, high = (number * share for number in spread)
    subject = (
        f"{count_text(fact.accelerators, 'accelerator')} ({fact.accelerator}), "
        f"{fact.parameters:,} parameters, {fact.tokens:,} tokens"
    )
    ends = f"{number_text(low, 3)} to {number_text(high, 3)} {unit}"
    return Figure(
        key=f"estimated-{quantity}", label=f"{_NOUNS[quantity]}, estimated before training",
        value=value, unit=unit, method=ESTIMATED, sigma=None, low=low, high=high,
        basis=f"Made before training for {subject}: {fact.basis} The {100 * fact.interval:g} % "
        f"interval is {ends}. For the {number_text(100 * share, 3)} % of the planned tokens that "
        "were trained.",
        formula="estimate x tokens trained / tokens planned",
        inputs=(
            Input(name="estimate", value=spread[0], unit=unit, method=ESTIMATED, record=seq),
            Input(name="tokens planned", value=float(fact.tokens), unit="tokens", record=seq),
        ),
    )  # fmt: skip


def _comparison(estimated: Figure, actual: Figure, quantity: str) -> Comparison:
    value = (actual.value or 0.0) / estimated.value if estimated.value else None
    ratio = Figure(
        key=f"{quantity}-over-estimate", label=f"{_NOUNS[quantity]}, actual over estimated",
        value=value, unit="times",
        method=weakest([estimated.method, actual.method]) if value is not None else "missing",
        sigma=None, basis=f"{actual.label} / {estimated.label}.",
        formula="actual / estimated",
        inputs=(Input.from_figure(actual), Input.from_figure(estimated)),
    )  # fmt: skip
    return Comparison(estimated, actual, ratio)
