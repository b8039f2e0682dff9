"""All figures of one run: what every form of its report shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import BoundaryStated, RunOpened
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.communication import Communication, communication_of
from carbon_trainer.reports.figures.compute import compute_figure
from carbon_trainer.reports.figures.embodied import embodied_figure
from carbon_trainer.reports.figures.emissions import cost_figure, emissions_figure
from carbon_trainer.reports.figures.energy import (
    component_figure,
    coverage_figure,
    facility_figure,
    lost_figure,
    total_figure,
)
from carbon_trainer.reports.figures.estimate_comparison import (
    EstimateComparison,
    estimate_comparison_of,
)
from carbon_trainer.reports.figures.events import DataGap, Event, data_gaps, events_of
from carbon_trainer.reports.figures.factors import FactorUse, factor_uses
from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.plan_comparison import PlanComparison, plan_comparison_of
from carbon_trainer.reports.figures.scope2 import InstrumentUse, instrument_uses, market_figure
from carbon_trainer.reports.figures.series import (
    EnergySeries,
    LossSeries,
    energy_series,
    loss_series,
)
from carbon_trainer.reports.figures.tallies import (
    Cell,
    Tally,
    by_component_first,
    energy_cells,
    tallies,
    tally,
    unrecorded_seconds,
)
from carbon_trainer.reports.figures.work import (
    loss_figures,
    power_figures,
    time_figures,
    work_figures,
)
from carbon_trainer.reports.record.provenance import Provenance, provenance_of
from carbon_trainer.reports.record.run_record import Correction, RunRecord, read_run
from carbon_trainer.reports.record.segments import OPEN, Segment, segments_of


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """A budget and the part of it that was used.

    Attributes:
        setting: its name in the config: ``budget_kwh``.
        limit: as given.
        unit: of the limit and of what was used.
        figure: the figure that counts against it.
    """

    setting: str
    limit: float
    unit: str
    figure: Figure

    @property
    def share(self) -> float | None:
        """The used part of the limit; None where it is not known."""
        return None if self.figure.value is None else self.figure.value / self.limit


@dataclass(frozen=True)
class RunFigures:
    """One run, counted up. Made by ``run_figures``; nothing in it depends on when or where.

    Attributes:
        run_id: the run.
        head: the last record that counts; it is also the number of records.
        opened: its opening record; None where it is missing.
        status: ``finished``, ``budget``, ``interrupted``, ``failed`` or ``open``.
        reason: why it ended, or that it is open.
        started_ns: when it was opened (ns, UTC); None where that is missing.
        ended_ns: when it closed its record; the last thing that is known of it where it is open or
            was killed.
        segments: its stretches in order.
        total: the energy of all devices; None without intervals.
        by_component, by_device, by_phase: the same energy, cut three ways.
        component_figures: a figure for each of ``by_component``.
        factors: emission factors with their use.
        budgets: the budgets that were set last.
        instruments: contractual instruments with what they cover.
        plan_comparison: the plan and the actual emissions; None where there was no plan.
        estimate_comparison: the estimate and the actual figures; None where there was none.
        communication: what ranks spent on it; None where no step was watched.
        boundary: whose machines the run was on; None where that is not stated.
        corrections: what was corrected afterwards; every figure here has it in.
        gaps: what the record lacks.
        events: decisions, gaps, interruptions and segments' beginnings and ends, by time.
        provenance: corpus, model, machines, sources, settings.
    """

    run_id: str
    head: ChainHead
    opened: RunOpened | None
    status: str
    reason: str
    started_ns: int | None
    ended_ns: int
    segments: tuple[Segment, ...]
    intervals: int
    total: Tally | None
    by_component: tuple[Tally, ...]
    by_device: tuple[Tally, ...]
    by_phase: tuple[Tally, ...]
    component_figures: tuple[Figure, ...]
    energy: Figure
    facility_energy: Figure
    emissions: Figure
    cost: Figure | None
    duration: Figure
    active_time: Figure
    steps: Figure
    tokens: Figure
    tokens_per_kwh: Figure
    kwh_per_million_tokens: Figure
    mean_power: Figure
    peak_power: Figure
    train_loss: Figure
    validation_loss: Figure
    perplexity: Figure
    factors: tuple[FactorUse, ...]
    budgets: tuple[BudgetUse, ...]
    provenance: Provenance
    emissions_market: Figure
    embodied: Figure
    training_compute: Figure
    coverage: Figure
    lost_energy: Figure
    instruments: tuple[InstrumentUse, ...]
    plan_comparison: PlanComparison | None
    estimate_comparison: EstimateComparison | None
    communication: Communication | None
    boundary: BoundaryStated | None
    corrections: tuple[Correction, ...]
    gaps: tuple[DataGap, ...]
    events: tuple[Event, ...]
    series: EnergySeries | None
    losses: LossSeries | None

    @property
    def is_open(self) -> bool:
        """Whether the last segment has no closing record."""
        return self.status == OPEN

    def all_figures(self) -> Iterator[Figure]:
        """Yield every figure once, the important ones first."""
        yield self.energy
        yield from self.component_figures
        yield self.facility_energy
        yield from (self.emissions, self.emissions_market, self.embodied)
        if self.cost is not None:
            yield self.cost
        yield from (self.duration, self.active_time, self.coverage)
        yield from (self.mean_power, self.peak_power, self.lost_energy, self.training_compute)
        yield from (self.steps, self.tokens, self.tokens_per_kwh, self.kwh_per_million_tokens)
        if self.communication is not None:
            yield from self.communication.figures()
        yield from (self.train_loss, self.validation_loss, self.perplexity)
        if self.plan_comparison is not None:
            yield from self.plan_comparison.figures()
        if self.estimate_comparison is not None:
            yield from self.estimate_comparison.figures()


def run_figures(ledger: Ledger, run_id: str) -> RunFigures:
    """Count up a run; the same ledger gives the same figures.

    Args:
        ledger: where it is.
        run_id: its full id; ``Ledger.resolve`` turns what a person typed into one.

    Raises:
        InputError: if the ledger has no such run.
        LedgerError: if a record is from a newer version.
    """
    return figures_of(read_run(ledger, run_id))


def figures_of(record: RunRecord) -> RunFigures:
    """Count up a run that has been read."""
    segments = segments_of(record)
    unordered, cell_of = energy_cells(record, segments)
    cells = by_component_first(unordered)
    series = energy_series(record, segments, unordered, cell_of)
    provenance = provenance_of(record)
    unrecorded = unrecorded_seconds(record, cells, segments)
    by_component, by_device, by_phase = _cuts(unordered, cells, unrecorded)
    total = _total(unordered, unrecorded)
    factors = factor_uses(record, cells)
    energy_figure = total_figure(total, [])
    facility = facility_figure(total, cells, factors)
    emissions = emissions_figure(total, cells, factors)
    cost = cost_figure(total, cells, factors)
    is_open = not segments or segments[-1].ended == OPEN
    duration, active = time_figures(segments, is_open=is_open)
    instruments = instrument_uses(record, facility)
    work = work_figures(record, energy_figure)
    mean, peak = power_figures(energy_figure, active, series)
    return RunFigures(
        run_id=record.run_id,
        head=record.head,
        opened=record.last(RunOpened),
        status=OPEN if is_open else segments[-1].ended,
        reason=segments[-1].reason if segments else "the opening record is missing",
        started_ns=segments[0].start_ns if segments else None,
        ended_ns=segments[-1].end_ns if segments else record.last_event_ns,
        segments=segments,
        intervals=len(record.intervals),
        total=total,
        by_component=by_component,
        by_device=by_device,
        by_phase=by_phase,
        component_figures=tuple(
            component_figure(row, provenance.source_texts(row.name)) for row in by_component
        ),
        energy=energy_figure,
        facility_energy=facility,
        emissions=emissions,
        cost=cost,
        duration=duration,
        active_time=active,
        **work,
        mean_power=mean,
        peak_power=peak,
        **loss_figures(record),
        factors=factors,
        budgets=_budgets(provenance.config, facility, emissions, cost),
        provenance=provenance,
        emissions_market=market_figure(
            emissions, facility, instruments, marginal=_marginal(factors)
        ),
        embodied=embodied_figure(provenance, by_device),
        training_compute=compute_figure(provenance.model, work["tokens"]),
        coverage=coverage_figure(total),
        lost_energy=lost_figure(segments),
        instruments=instruments,
        plan_comparison=plan_comparison_of(record, series, factors, emissions),
        estimate_comparison=estimate_comparison_of(record, active, facility, work["tokens"]),
        communication=communication_of(record, unordered, segments),
        boundary=record.last(BoundaryStated),
        corrections=record.corrections,
        gaps=data_gaps(record, segments, total, by_device),
        events=events_of(record),
        series=series,
        losses=loss_series(record, series),
    )


def _cuts(
    unordered: Sequence[Cell], cells: Sequence[Cell], unrecorded: dict[tuple[str, str], float]
) -> tuple[tuple[Tally, ...], tuple[Tally, ...], tuple[Tally, ...]]:
    """Cut the same energy by component, by device and by phase."""
    by_component: dict[tuple[str, str], float] = {}
    for (component, _), seconds in unrecorded.items():
        key = (component, component)
        by_component[key] = by_component.get(key, 0.0) + seconds
    return (
        tallies(cells, lambda cell: (cell.component, cell.component), by_component),
        tallies(cells, lambda cell: (cell.component, cell.device), unrecorded),
        tallies(unordered, lambda cell: ("", cell.phase)),
    )


def _marginal(factors: Sequence[FactorUse]) -> bool:
    return any(use.fact.accounting.startswith("marginal") for use in factors)


def _total(cells: Sequence[Cell], unrecorded: dict[tuple[str, str], float]) -> Tally | None:
    if not cells:
        return None
    return tally("total", cells, unrecorded_s=sum(unrecorded.values()))


def _budgets(
    config: dict[str, Any], facility: Figure, emissions: Figure, cost: Figure | None
) -> tuple[BudgetUse, ...]:
    no_cost = Figure.missing("cost", "Cost of electricity", "", "No price is on record.")
    currency = str(config.get("currency", ""))
    limits = (
        ("budget_kwh", "kWh", facility),
        ("budget_kgco2e", "kgCO2e", emissions),
        ("budget_cost", currency, cost or no_cost),
    )
    return tuple(
        BudgetUse(setting, float(config[setting]), unit, figure)
        for setting, unit, figure in limits
        if config.get(setting)
    )
