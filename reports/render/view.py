"""What a run's report says, in order and in words, for the HTML and the Markdown form alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure, Input
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.scopes import UNSTATED, scope_of
from carbon_trainer.reports.figures.tallies import CORRELATION
from carbon_trainer.reports.figures.text import (
    component_text,
    count_text,
    figure_text,
    number_text,
    percent_text,
    time_text,
)
from carbon_trainer.reports.render import tables
from carbon_trainer.reports.render.tables import Table

MOST_INPUTS = 60
"""A figure of very many parts shows the first ones; the JSON report has all."""

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


@dataclass(frozen=True, slots=True)
class InputRow:
    """An input of a figure, for people."""

    name: str
    value: str
    method: str
    origin: str
    figure: str | None


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a figure is made, for people."""

    key: str
    label: str
    text: str
    method: str
    basis: str
    formula: str
    inputs: tuple[InputRow, ...]


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
            tables.component_table(figures),
            tables.phase_table(figures),
            tables.device_table(figures),
        ),
        boundary=_boundary(figures),
        factor=tables.factor_table(figures),
        instruments=tables.instrument_table(figures),
        plan=tables.plan_table(figures),
        estimate=tables.estimate_table(figures),
        corrections=tables.correction_table(figures),
        results=_results(figures),
        budget=tables.budget_table(figures),
        segments=tables.segment_table(figures),
        about=(
            tables.subject_table(figures),
            tables.machine_table(figures),
            tables.source_table(figures),
        ),
        events=tables.event_table(figures),
        settings=tables.settings_table(figures),
        derivations=tuple(derivation_of(figure) for figure in figures.all_figures()),
        correlation=CORRELATION,
        chain=_chain(figures),
        verify=f"carbon-train runs verify {figures.run_id}",
    )


def derivation_of(figure: Figure) -> Derivation:
    """Put into words how a figure is made."""
    inputs = tuple(_input_row(figure_input) for figure_input in figure.inputs[:MOST_INPUTS])
    return Derivation(
        figure.key, figure.label, figure_text(figure), figure.method, figure.basis, figure.formula,
        inputs,
    )  # fmt: skip


def _input_row(figure_input: Input) -> InputRow:
    value = figure_input.value
    text = (
        "missing" if value is None else value if isinstance(value, str) else number_text(value, 6)
    )
    record = "" if figure_input.record is None else f"record {figure_input.record}"
    vintage = f"vintage {figure_input.vintage}" if figure_input.vintage else ""
    origin = "; ".join(
        part
        for part in (record, figure_input.factor_id or "", figure_input.source, vintage)
        if part
    )
    return InputRow(
        figure_input.name,
        f"{text} {figure_input.unit}".strip(),
        figure_input.method,
        origin,
        figure_input.figure,
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
    shown = [figure for figure in figures.all_figures() if figure.key not in parts]
    rows = tuple((f.label, figure_text(f), f.method) for f in shown)
    keys = tuple(figure.key for figure in shown)
    columns = ("Figure", "Value", "Method")
    return Table("results", "All figures", columns, rows, frozenset({1}), "", keys)


def _boundary(figures: RunFigures) -> Table:
    rows = [_component_boundary(name, figures) for name in ("gpu", "cpu", "ram")]
    rows += [
        _component_boundary(row.name, figures)
        for row in figures.by_component
        if row.name not in ("gpu", "cpu", "ram")
    ]
    pue = ", then ".join(
        dict.fromkeys(f"PUE {u.fact.pue:g} ({u.fact.pue_method})" for u in figures.factors)
    )
    rows += [
        ("Node", "Machines", _nodes(figures), "None is extrapolated from another."),
        ("Node", "Rest of the machine: board, fans, disks, power supply losses", "excluded", ""),
        ("Node", "Other work on the same devices", "included", "Meters cannot separate it."),
        ("Facility", "Cooling and power distribution", "only through PUE", pue or "missing"),
        ("Facility", "Network and storage outside the machine", "excluded", ""),
        ("Time", "Pauses between segments", "excluded", "Unless intervals are recorded there."),
        ("Time", "Preparation of the data", *_preparation(figures)),
        ("Time", "Other runs, use of the model", "excluded", ""),
        ("Life cycle", "Making of the accelerators (embodied)", *_embodied(figures)),
        ("Life cycle", "Making of CPUs, memory, boards, buildings", "excluded", ""),
        ("Accounting", "Scope", _scope(figures), _scope_note(figures)),
        ("Accounting", "Location-based", _accounting(figures), _accounting_note(figures)),
        ("Accounting", "Market-based", *_market(figures)),
        ("Accounting", "Offsets and savings", "not subtracted", ""),
    ]
    columns = ("Level", "What", "In this report", "How")
    return Table("boundary", "Boundary: what is counted", columns, tuple(rows))


def _preparation(figures: RunFigures) -> tuple[str, str]:
    # The phase under which the main job records it.
    if any(row.name == "prepare" for row in figures.by_phase):
        return "included", "Tokenizing and packing by this run, not what was done before."
    return "excluded", ""


def _component_boundary(component: str, figures: RunFigures) -> tuple[str, str, str, str]:
    level = "Rail" if component == "gpu" else "Node"
    for row in figures.by_component:
        if row.name == component:
            sources = (
                "; ".join(figures.provenance.source_texts(component)) or "no source is described"
            )
            return level, component_text(component), row.method, sources
    return level, component_text(component), "excluded", "No intervals on record."


def _nodes(figures: RunFigures) -> str:
    hosts = dict.fromkeys(machine.host for machine in figures.provenance.machines)
    return f"{len(hosts)} metered" if hosts else "missing"


def _embodied(figures: RunFigures) -> tuple[str, str]:
    if figures.embodied.value is None:
        return "missing", figures.embodied.basis
    return "apart, as a range", f"{figures.embodied.label}: {figure_text(figures.embodied)}."


def _scope(figures: RunFigures) -> str:
    return scope_of(figures.boundary).name


def _scope_note(figures: RunFigures) -> str:
    stated = figures.boundary
    if stated is None:
        return UNSTATED
    parts = (stated.organisation, stated.provider, stated.region)
    return ", ".join([f"stated by {stated.by}", *(part for part in parts if part)])


def _market(figures: RunFigures) -> tuple[str, str]:
    if figures.emissions_market.value is None:
        return "missing", figures.emissions_market.basis
    if not figures.instruments:
        return "same as location-based", "No contractual instruments on record."
    count = len([use for use in figures.instruments if use.covered_kwh])
    return "by instruments", f"{count} with evidence, in the table of instruments."


def _accounting(figures: RunFigures) -> str:
    kinds = dict.fromkeys(use.fact.accounting for use in figures.factors)
    return ", ".join(kinds) or "missing"


def _accounting_note(figures: RunFigures) -> str:
    if any(use.fact.accounting.startswith("marginal") for use in figures.factors):
        return "A marginal factor is for scheduling; it does not belong in an inventory."
    return "Emissions above are this figure." if figures.factors else ""


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
