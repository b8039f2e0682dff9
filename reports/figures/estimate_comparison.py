"""What was estimated before the run beside what it took.

The estimate is of the planned tokens; of a run that ended earlier, or went on, as large a part is
held against what was measured as tokens were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.ledger.facts import EstimateMade
from carbon_trainer.reports.figures.figure import ESTIMATED, Figure, Input, weakest
from carbon_trainer.reports.figures.text import count_text, number_text
from carbon_trainer.reports.record.run_record import RunRecord

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure as it was estimated and as it came.

    Attributes:
        estimated: before the run, with the interval's ends.
        came: what the record gives.
        ratio: what came over what was estimated.
    """

    estimated: Figure
    came: Figure
    ratio: Figure

    @property
    def is_inside(self) -> bool:
        """Whether what came lies in the interval."""
        low, high, came = self.estimated.low, self.estimated.high, self.came.value
        return None not in (low, high, came) and (low or 0) <= (came or 0) <= (high or 0)


@dataclass(frozen=True, slots=True)
class Foretold:
    """An estimate that was made before a run, beside what it took.

    Attributes:
        fact: what was estimated.
        tokens: trained, as large a part of the planned ones as is compared.
        hours: of all devices working side by side.
        energy: of the facility.
    """

    fact: EstimateMade
    tokens: float
    hours: Beside
    energy: Beside

    def figures(self) -> tuple[Figure, ...]:
        """Return the figures that are not elsewhere in the report."""
        hours, energy = self.hours, self.energy
        return (hours.estimated, hours.came, hours.ratio, energy.estimated, energy.ratio)


def foretold_of(
    record: RunRecord, active_time: Figure, facility: Figure, tokens: Figure
) -> Foretold | None:
    """Hold a run's first estimate against what it took; None where either is missing."""
    made = record.of(EstimateMade)
    if not made or not tokens.value or active_time.value is None or facility.value is None:
        return None
    seq, fact = made[0].seq, made[0].fact
    share = tokens.value / fact.tokens
    took_h = Figure(
        key="training-hours", label="Hours of training", unit="h",
        value=active_time.value / SECONDS_PER_HOUR, method=active_time.method,
        sigma=None if active_time.sigma is None else active_time.sigma / SECONDS_PER_HOUR,
        basis="Active time in hours.", formula="active time / 3600",
        inputs=(Input.of(active_time),),
    )  # fmt: skip
    spread = (fact.hours, fact.hours_low, fact.hours_high)
    hours = _estimated("hours", "h", spread, share, fact, seq)
    spread = (fact.energy_kwh, fact.energy_low_kwh, fact.energy_high_kwh)
    energy = _estimated("energy", "kWh", spread, share, fact, seq)
    return Foretold(
        fact, tokens.value, _beside(hours, took_h, "Hours"), _beside(energy, facility, "Energy")
    )


def _estimated(
    what: str, unit: str, spread: tuple[float, float, float], share: float, fact: EstimateMade,
    seq: int,
) -> Figure:  # fmt: skip
    value, low, high = (one * share for one in spread)
    noun = "Energy of the facility" if what == "energy" else "Hours of training"
    made_for = (
        f"{count_text(fact.accelerators, 'accelerator')} ({fact.accelerator}), "
        f"{fact.parameters:,} parameters, {fact.tokens:,} tokens"
    )
    ends = f"{number_text(low, 3)} to {number_text(high, 3)} {unit}"
    return Figure(
        key=f"estimated-{what}", label=f"{noun}, estimated before", value=value, unit=unit,
        method=ESTIMATED, sigma=None, low=low, high=high,
        basis=f"Made before training for {made_for}: {fact.basis} The {100 * fact.interval:g} % "
        f"interval is {ends}. For the {number_text(100 * share, 3)} % of the planned tokens that "
        "were trained.",
        formula="estimate x tokens trained / tokens planned",
        inputs=(
            Input(name="estimate", value=spread[0], unit=unit, method=ESTIMATED, record=seq),
            Input(name="tokens planned", value=float(fact.tokens), unit="tokens", record=seq),
        ),
    )  # fmt: skip


def _beside(estimated: Figure, came: Figure, what: str) -> Beside:
    value = (came.value or 0.0) / estimated.value if estimated.value else None
    ratio = Figure(
        key=f"{what.casefold()}-over-estimate", label=f"{what}, what came over what was estimated",
        value=value, unit="times",
        method=weakest([estimated.method, came.method]) if value is not None else "missing",
        sigma=None, basis=f"{came.label} / {estimated.label}.",
        formula="what came / what was estimated",
        inputs=(Input.of(came), Input.of(estimated)),
    )  # fmt: skip
    return Beside(estimated, came, ratio)
