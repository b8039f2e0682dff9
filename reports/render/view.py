"""What a run's report says, in order and in words, for the HTML and the Markdown form alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.tallies import CORRELATION
from carbon_trainer.reports.figures.text import (
    component_text,
    count_text,
    figure_text,
    number_text,
    percent_text,
    time_text,
)
from carbon_trainer.reports.render.boundary import boundary_table
from carbon_trainer.reports.render.derivation import Derivation, derivation_of
from carbon_trainer.reports.render.emission_tables import (
    estimate_table,
    factor_table,
    instrument_table,
    plan_table,
)
from carbon_trainer.reports.render.energy_tables import (
    budget_table,
    component_table,
    device_table,
    phase_table,
    segment_table,
)
from carbon_trainer.reports.render.record_tables import (
    correction_table,
    event_table,
    machine_table,
    settings_table,
    source_table,
    subject_table,
)
from carbon_trainer.reports.render.table import Table

_STATUS = {
    "finished": "finished",
    "budget": "stopped at its budget",
    "interrupted": "interrupted",
    "failed": "failed",
    "open": "still open",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure: its name, its text, a word on it, and the anchor of its derivation."""

    label: str
    text: str
    note: str
    key: str


@dataclass(frozen=True)
class View:
    """A run's report in words.

    Attributes:
        title: the run's name, else its id.
        status: how it ended, or that it is open.
        lead: two paragraphs: how the run went; what was measured, estimated or assumed.
        tiles: headline figures.
        gaps: sentences on what the record lacks.
        boundary: what is counted and what is not.
        results: losses, work and power.
        chain: how to check the record.
    """

    title: str
    run_id: str
    project: str
    status: str
    is_open: bool
    lead: tuple[str, ...]
    tiles: tuple[Tile, ...]
    gaps: tuple[str, ...]
    energy_tables: tuple[Table, ...]
    boundary: Table
    factor: Table
    instruments: Table
    plan: Table
    estimate: Table
    corrections: Table
    results: Table
    budget: Table
    segments: Table
    about: tuple[Table, ...]
    events: Table
    settings: Table
    derivations: tuple[Derivation, ...]
    correlation: str
    chain: Table
    verify: str


def view_of(figures: RunFigures) -> View:
    """Put a run's figures into words."""
    opened = figures.opened
    return View(
        title=(opened.name if opened else "") or figures.run_id,
        run_id=figures.run_id,
        project=opened.project if opened else "missing",
        status=status_text(figures.status),
        is_open=figures.is_open,
        lead=_lead(figures),
        tiles=_tiles(figures),
        gaps=tuple(_sentence(f"{gap.what}: {gap.why}") for gap in figures.gaps),
        energy_tables=(
            component_table(figures),
            phase_table(figures),
            device_table(figures),
        ),
        boundary=boundary_table(figures),
        factor=factor_table(figures),
        instruments=instrument_table(figures),
        plan=plan_table(figures),
        estimate=estimate_table(figures),
        corrections=correction_table(figures),
        results=_results(figures),
        budget=budget_table(figures),
        segments=segment_table(figures),
        about=(
            subject_table(figures),
            machine_table(figures),
            source_table(figures),
        ),
        events=event_table(figures),
        settings=settings_table(figures),
        derivations=tuple(derivation_of(figure) for figure in figures.all_figures()),
        correlation=CORRELATION,
        chain=_chain(figures),
        verify=f"carbon-train runs verify {figures.run_id}",
    )


def _tiles(figures: RunFigures) -> tuple[Tile, ...]:
    facility = figures.facility_energy
    facility_note = f"{facility.label.lower()}: {figure_text(facility)}"
    tiles = [
        _tile(figures.energy, f"{figures.energy.method}; {facility_note}"),
        _tile(figures.emissions, f"{figures.emissions.method}; {_factor_note(figures)}"),
    ]
    if figures.cost is None:
        tiles.append(Tile("Cost of electricity", "no price given", "set price_per_kwh", ""))
    else:
        tiles.append(_tile(figures.cost, f"{figures.cost.method}; price as given"))
    per_million = figure_text(figures.kwh_per_million_tokens)
    note = "no tokens on record" if figures.tokens_per_kwh.value is None else f"or {per_million}"
    tiles.append(_tile(figures.tokens_per_kwh, note))
    active = f"{figure_text(figures.active_time)} of training time"
    tiles.append(Tile("Status", status_text(figures.status), active, figures.active_time.key))
    return tuple(tiles)


def _tile(figure: Figure, note: str) -> Tile:
    label = figure.label.partition(" (")[0]
    return Tile(label, figure_text(figure), note, figure.key)


def _factor_note(figures: RunFigures) -> str:
    if not figures.factors:
        return "no emission factor on record"
    if len(figures.factors) > 1:
        return f"{len(figures.factors)} emission factors"
    fact = figures.factors[0].fact
    return f"{number_text(fact.intensity_gco2e_per_kwh)} gCO2e/kWh, {fact.zone_name}"


def _lead(figures: RunFigures) -> tuple[str, ...]:
    paragraphs = (_status_sentences(figures), _method_sentences(figures))
    return tuple(text for sentences in paragraphs if (text := " ".join(sentences)))


def _status_sentences(figures: RunFigures) -> Iterable[str]:
    if figures.started_ns is None:
        yield "The record of how the run was opened is missing."
        return
    start, end = time_text(figures.started_ns), time_text(figures.ended_ns)
    count = len(figures.segments)
    parts = "" if count == 1 else f" in {count:,} segments"
    if figures.is_open:
        yield (
            f"This run is open: it was started at {start} and has no closing record after its "
            f"last start. Its figures hold up to {end}, the last thing on record, and may grow."
        )
    else:
        length = figure_text(figures.duration)
        yield (
            f"The run lasted {length}{parts}, from {start} to {end}, and "
            f"{_status_clause(figures.status)}: {figures.reason.rstrip('.')}."
        )

    if figures.corrections:
        corrected = count_text(len(figures.corrections), "correction")
        yield f"The record has {corrected} with a reason, which every figure has in."


def _method_sentences(figures: RunFigures) -> Iterable[str]:
    for row in figures.by_component:
        sources = "; ".join(figures.provenance.source_texts(row.name)) or "no source is described"
        name = component_text(row.name)
        if len([energy for energy in row.energy_by_method_mj.values() if energy]) > 1:
            shares = ", ".join(
                f"{percent_text(energy / row.energy_mj)} {method}"
                for method, energy in row.energy_by_method_mj.items()
                if energy
            )
            yield f"{name} energy is {shares} ({sources})."
        else:
            yield f"{name} energy was {row.method} ({sources})."
    for use in figures.factors[:1]:
        fact = use.fact
        pue = "stated by the operator" if fact.pue_method == "as given" else fact.pue_method
        yield (
            f"The emission factor of {number_text(fact.intensity_gco2e_per_kwh)} gCO2e/kWh "
            f"({fact.zone_name}, {fact.vintage}) is {fact.method}; "
            f"the PUE of {fact.pue:g} is {pue}."
        )
    if len(figures.factors) > 1:
        yield f"The factor changed on the way: {len(figures.factors)} were used, each in turn."


def _results(figures: RunFigures) -> Table:
    parts = {figure.key for figure in figures.component_figures}
    # Plan, saving and estimate stand in boxes of their own.
    for comparison in (figures.plan_comparison, figures.estimate_comparison):
        if comparison is not None:
            parts |= {figure.key for figure in comparison.figures()}
    other_figures = [figure for figure in figures.all_figures() if figure.key not in parts]
    rows = tuple((f.label, figure_text(f), f.method) for f in other_figures)
    keys = tuple(figure.key for figure in other_figures)
    columns = ("Figure", "Value", "Method")
    return Table("results", "All figures", columns, rows, frozenset({1}), "", keys)


def _chain(figures: RunFigures) -> Table:
    rows = (
        ("Records", f"{figures.head.seq:,}, of which {figures.intervals:,} intervals"),
        ("Last record", str(figures.head.seq)),
        ("Its SHA-256", figures.head.sha256),
    )
    return Table("chain", "Ledger chain", ("What", "Value"), rows)


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def status_text(status: str) -> str:
    """Write a run's status for people."""
    return _STATUS.get(status, status)


def _status_clause(status: str) -> str:
    return "was interrupted" if status == "interrupted" else status_text(status)


def title_of(view: View) -> str:
    """Return a one-line title of the report."""
    return f"Energy and emissions of run {view.title}"
