"""Checks that would have caught mistakes in published figures; run before every export.

Each compares figures that must fit one another by arithmetic or by physics: energy times factor
and emissions, PUE counted once, a board's power and its limit, arithmetic and a dense peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from carbon_trainer.errors import InputError
from carbon_trainer.hardware.accelerators import accelerator_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.verify import verify
from carbon_trainer.reports.exports.inventory import Inventory
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.tallies import Tally

AGREEMENT = 0.02
"""Relative difference that rounding of published figures explains."""

MOST_GCO2E_PER_KWH = 1500.0
"""Above any grid: electricity of coal alone has a median of 820 gCO2e/kWh over its life cycle (IPCC
AR5 WG3, annex III, table A.III.2); old lignite plants and losses are allowed for."""

LEAST_TDP_SHARE = 0.1
MOST_TDP_SHARE = 1.5
"""Mean power of an accelerator in training as a share of its limit; published systems lie at 0.54
to 1.10 with their hosts."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Figures that somebody publishes of one training; None where they do not say.

    Attributes:
        name: of what.
        energy_kwh: the machines', before PUE.
        facility_kwh: after PUE.
        pue: facility over machines.
        intensity_gco2e_per_kwh: of the grid.
        emissions_kgco2e: location-based.
        device_hours: accelerator-hours.
        tdp_w: an accelerator's power limit.
        flops: arithmetic operations of training.
        peak_tflops: an accelerator's peak that a utilisation was computed with.
        accelerator: its name, as NVML has it.
    """

    name: str
    energy_kwh: float | None = None
    facility_kwh: float | None = None
    pue: float | None = None
    intensity_gco2e_per_kwh: float | None = None
    emissions_kgco2e: float | None = None
    device_hours: float | None = None
    tdp_w: float | None = None
    flops: float | None = None
    peak_tflops: float | None = None
    accelerator: str = ""


def problems_of(claim: Claim) -> list[str]:
    """Return what cannot be right in a claim, a sentence each."""
    checks = (_factor, _pue, _intensity, _power, _peak, _arithmetic)
    return [f"{claim.name}: {problem}" for check in checks for problem in check(claim)]


def _factor(claim: Claim) -> Iterator[str]:
    facility = _facility(claim)
    intensity, stated_kg = claim.intensity_gco2e_per_kwh, claim.emissions_kgco2e
    if facility is None or intensity is None or stated_kg is None:
        return
    expected_kg = facility * intensity / 1000
    if math.isclose(stated_kg, expected_kg, rel_tol=AGREEMENT) or stated_kg == expected_kg:
        return
    hint = _hint(stated_kg / expected_kg if expected_kg else math.inf, claim.pue)
    yield (
        f"energy x factor is {expected_kg:.4g} kgCO2e, but the emissions say {stated_kg:.4g}{hint}"
    )


def _hint(ratio: float, pue: float | None) -> str:
    causes = {
        1000.0: "grams may have been taken for kilograms, or kilograms for tonnes",
        0.001: "kilograms may have been taken for grams, or tonnes for kilograms",
    }
    if pue is not None and pue > 1 + 2 * AGREEMENT:
        causes |= {pue: "the PUE may be in it twice", 1 / pue: "the PUE may be left out"}
    for factor, cause in causes.items():
        if math.isclose(ratio, factor, rel_tol=AGREEMENT):
            return f": {cause}"
    return f": it is {ratio:.3g} times that"


def _facility(claim: Claim) -> float | None:
    if claim.facility_kwh is not None:
        return claim.facility_kwh
    if claim.energy_kwh is None:
        return None
    return claim.energy_kwh * (1.0 if claim.pue is None else claim.pue)


def _pue(claim: Claim) -> Iterator[str]:
    if claim.pue is not None and claim.pue < 1:
        yield f"a PUE of {claim.pue:g} is below 1: the building would use less than its machines"
    if claim.energy_kwh is None or claim.facility_kwh is None or claim.pue is None:
        return
    expected_kwh = claim.energy_kwh * claim.pue
    if (
        math.isclose(claim.facility_kwh, expected_kwh, rel_tol=AGREEMENT)
        or claim.facility_kwh == expected_kwh
    ):
        return
    twice = math.isclose(claim.facility_kwh, expected_kwh * claim.pue, rel_tol=AGREEMENT)
    hint = ": the PUE is in it twice" if twice else ""
    yield (
        f"energy x PUE is {expected_kwh:.4g} kWh, but the facility's energy says "
        f"{claim.facility_kwh:.4g}{hint}"
    )


def _intensity(claim: Claim) -> Iterator[str]:
    facility, stated_kg = _facility(claim), claim.emissions_kgco2e
    if claim.intensity_gco2e_per_kwh is not None or not facility or stated_kg is None:
        implied = claim.intensity_gco2e_per_kwh
    else:
        implied = 1000 * stated_kg / facility
    if implied is not None and not 0 <= implied <= MOST_GCO2E_PER_KWH:
        yield (
            f"{implied:,.0f} gCO2e/kWh is above any grid's: kilograms may have been taken for "
            "grams, or tonnes for kilograms"
        )
    elif implied is not None and 0 < implied < 1 and claim.intensity_gco2e_per_kwh is None:
        yield (
            f"its energy and emissions mean {implied:.3g} gCO2e/kWh, which no grid has: the units "
            "of one of them may be wrong, or emissions net of instruments are called gross"
        )


def _power(claim: Claim) -> Iterator[str]:
    if not claim.device_hours:
        return
    board = accelerator_of(claim.accelerator)
    tdp_w = claim.tdp_w or (board.tdp_w if board else None)
    energy_kwh = _machine_energy(claim)
    if tdp_w is None or energy_kwh is None:
        return
    watts = 1000 * energy_kwh / claim.device_hours
    if not LEAST_TDP_SHARE <= watts / tdp_w <= MOST_TDP_SHARE:
        yield (
            f"its energy means {watts:.3g} W for each accelerator, whose limit is {tdp_w:g} W: "
            "hours, energy or emissions are wrong"
        )


def _machine_energy(claim: Claim) -> float | None:
    """The machines' energy; from emissions and factor where it is not stated."""
    pue = claim.pue or 1.0
    if claim.energy_kwh is not None:
        return claim.energy_kwh
    if claim.facility_kwh is not None:
        return claim.facility_kwh / pue
    if claim.emissions_kgco2e is not None and claim.intensity_gco2e_per_kwh:
        return 1000 * claim.emissions_kgco2e / claim.intensity_gco2e_per_kwh / pue
    return None


def _peak(claim: Claim) -> Iterator[str]:
    board = accelerator_of(claim.accelerator)
    if board is None or claim.peak_tflops is None:
        return
    if math.isclose(claim.peak_tflops, 2 * board.peak_bf16_tflops, rel_tol=AGREEMENT):
        yield (
            f"a peak of {claim.peak_tflops:g} TFLOP/s is the sparse one of {board.name}: the dense "
            f"one is {board.peak_bf16_tflops:g}"
        )
    elif claim.peak_tflops > 1.1 * board.peak_bf16_tflops:
        yield (
            f"a peak of {claim.peak_tflops:g} TFLOP/s is above that of {board.name}, "
            f"{board.peak_bf16_tflops:g} (bf16, dense)"
        )


def _arithmetic(claim: Claim) -> Iterator[str]:
    board = accelerator_of(claim.accelerator)
    peak = claim.peak_tflops or (board.peak_bf16_tflops if board else None)
    if not claim.flops or not claim.device_hours or peak is None:
        return
    share = claim.flops / (claim.device_hours * 3600 * peak * 1e12)
    if share > 1:
        yield (
            f"{claim.flops:.2g} operations in {claim.device_hours:.3g} accelerator-hours are "
            f"{share:.3g} of the peak: hours or operations are wrong"
        )


def claim_of(figures: RunFigures) -> Claim:
    """Return what a run's report claims."""
    boards = [row for row in figures.by_device if row.component == "gpu"]
    labels = {s.device: s.label for s in figures.provenance.sources if s.component == "gpu"}
    hours = sum(row.recorded_s + row.unrecorded_s for row in boards) / 3600
    intensities = {use.fact.intensity_gco2e_per_kwh for use in figures.factors}
    pues = {use.fact.pue for use in figures.factors}
    return Claim(
        name=f"run {figures.run_id}",
        energy_kwh=figures.energy.value,
        facility_kwh=figures.facility_energy.value,
        pue=pues.pop() if len(pues) == 1 else None,
        intensity_gco2e_per_kwh=intensities.pop() if len(intensities) == 1 else None,
        emissions_kgco2e=figures.emissions.value,
        device_hours=hours or None,
        flops=figures.training_compute.value,
        accelerator=_single_label(labels[row.name] for row in boards if row.name in labels),
    )


def _single_label(labels: Iterable[str]) -> str:
    names = set(labels)
    return names.pop() if len(names) == 1 else ""


def problems_of_run(figures: RunFigures) -> list[str]:
    """Return what cannot be right in a run's figures."""
    return [*problems_of(claim_of(figures)), *_cuts(figures)]


def _cuts(figures: RunFigures) -> Iterator[str]:
    """The same energy, however it is cut."""
    if figures.total is None:
        return
    cuts: tuple[tuple[str, tuple[Tally, ...]], ...] = (
        ("components", figures.by_component), ("devices", figures.by_device),
        ("phases", figures.by_phase),
    )  # fmt: skip
    for name, rows in cuts:
        total = sum(row.energy_mj for row in rows)
        if total != figures.total.energy_mj:
            yield f"its {name} add up to {total:,} mJ, its total is {figures.total.energy_mj:,} mJ"


def problems_of_inventory(inventory: Inventory) -> list[str]:
    """Return what cannot be right in an inventory: above all a kWh that is in two scopes."""
    problems = []
    scope_of_run: dict[str, str] = {}
    for line in inventory.lines:
        for run_id in line.runs:
            if run_id in scope_of_run:
                problems.append(
                    f"run {run_id} is in {scope_of_run[run_id]} and in {line.scope.name}: the same "
                    "kWh would be counted twice"
                )
            scope_of_run[run_id] = line.scope.name
        energy = line.energy.value
        if energy is not None and line.covered_kwh > energy * (1 + 1e-9):
            problems.append(
                f"{line.scope.name}: instruments cover {line.covered_kwh:.4g} kWh of "
                f"{energy:.4g} kWh"
            )
    return problems


def check_exportable(ledger: Ledger, figures: RunFigures) -> None:
    """Refuse to give others figures of a broken record, or that cannot be right.

    Raises:
        InputError: naming what is wrong.
    """
    chain = verify(ledger, figures.run_id)
    if chain.problem:
        raise InputError(
            f"nothing is exported, as the record of run {figures.run_id} is broken: {chain.problem}"
        )
    refuse(problems_of_run(figures))


def refuse(problems: Sequence[str]) -> None:
    """Refuse to export figures that cannot be right.

    Raises:
        InputError: naming what is wrong.
    """
    if problems:
        raise InputError(
            f"nothing is exported, as figures cannot be right: {'; '.join(problems)}. Correct the "
            "record with `carbon-train runs correct`."
        )
