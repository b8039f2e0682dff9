"""The table of a report's boundary: what is counted, at which level, by which accounting."""

from __future__ import annotations

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.scopes import UNSTATED, scope_of
from carbon_trainer.reports.figures.text import (
    component_text,
    figure_text,
)
from carbon_trainer.reports.render.table import Table


def boundary_table(figures: RunFigures) -> Table:
    """What is in the figures and what is not."""
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
