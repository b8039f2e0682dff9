"""The tables of a run's report, as text: what its HTML and Markdown forms both show."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from carbon_trainer.ledger.facts import CorpusDescribed, DatasetPrepared, JsonDict, ModelDescribed
from carbon_trainer.reports.figures.factors import FactorUse
from carbon_trainer.reports.figures.figure import ASSUMED, ESTIMATED, MEASURED, Figure
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.tallies import Tally
from carbon_trainer.reports.figures.text import (
    bytes_text,
    component_text,
    duration_text,
    figure_text,
    number_text,
    percent_text,
    time_text,
)
from carbon_trainer.units import energy_text, kwh_from_mj

MOST_EVENTS = 200
MOST_FACTOR_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        key: stable name, also its anchor.
        caption: what it shows.
        columns: its columns' names; the first column names the rows.
        rows: its cells.
        numeric: numbers of the columns that hold numbers.
        note: what to know besides.
        keys: for each row the key of the figure that it shows, or nothing.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    keys: tuple[str, ...] = ()


def component_table(figures: RunFigures) -> Table:
    """Energy by component, with the total."""
    rows = [_energy_row(component_text(row.name), row, figures) for row in figures.by_component]
    keys = [figure.key for figure in figures.component_figures]
    if figures.total is not None:
        rows.append(_energy_row("Total", figures.total, figures))
        keys.append(figures.energy.key)
    return _energy_table("by-component", "Energy by component", "Component", rows, tuple(keys))


def device_table(figures: RunFigures) -> Table:
    """Energy by device."""
    labels = {(s.component, s.device): s.label for s in figures.provenance.sources}
    rows = []
    for row in figures.by_device:
        label = labels.get((row.component, row.name), "")
        name = f"{label} ({row.name})" if label else row.name
        rows.append(_energy_row(f"{component_text(row.component)}: {name}", row, figures))
    return _energy_table("by-device", "Energy by device", "Device", rows)


def phase_table(figures: RunFigures) -> Table:
    """Energy by phase of the run."""
    rows = [_energy_row(row.name, row, figures)[:4] for row in figures.by_phase]
    columns = ("Phase", "Energy", "Share", "Method")
    return Table("by-phase", "Energy by phase", columns, tuple(rows), frozenset({1, 2}))


def _energy_table(
    key: str, caption: str, first: str, rows: list[tuple[str, ...]], keys: tuple[str, ...] = ()
) -> Table:
    columns = (
        first, "Energy", "Share", "Method", "Measured", "Estimated", "Unknown", "Not recorded",
    )  # fmt: skip
    note = (
        "The last four columns are device time: how much of it was measured, estimated (or "
        "assumed), has intervals of unknown energy, or has no interval at all."
    )
    return Table(key, caption, columns, tuple(rows), frozenset({1, 2, 4, 5, 6, 7}), note, keys)


def _energy_row(name: str, row: Tally, figures: RunFigures) -> tuple[str, ...]:
    total_mj = figures.total.energy_mj if figures.total else 0
    share = row.energy_mj / total_mj if total_mj else None
    sigma = None if row.sigma_mj is None else kwh_from_mj(row.sigma_mj)
    figure = Figure(
        key="", label=name, value=kwh_from_mj(row.energy_mj), unit="kWh", method=row.method,
        sigma=sigma, basis="",
    )  # fmt: skip
    seconds = row.seconds_by_method
    seconds_shown = {MEASURED: seconds.get(MEASURED, 0.0)}
    seconds_shown[ESTIMATED] = seconds.get(ESTIMATED, 0.0) + seconds.get(ASSUMED, 0.0)
    unknown = row.recorded_s - seconds_shown[MEASURED] - seconds_shown[ESTIMATED]
    total_s = row.recorded_s + row.unrecorded_s
    parts = (seconds_shown[MEASURED], seconds_shown[ESTIMATED], unknown, row.unrecorded_s)
    times = tuple(_part_text(part, total_s) for part in parts)
    return (name, figure_text(figure, like=figures.energy), percent_text(share), row.method, *times)


def _part_text(seconds: float, total_s: float) -> str:
    if seconds < 1e-6 or not total_s:
        return "none"
    return f"{duration_text(seconds)} ({percent_text(seconds / total_s)})"


def segment_table(figures: RunFigures) -> Table:
    """The stretches that the run ran in."""
    rows = []
    for segment in figures.segments:
        energy = figures.energy
        text = "none"
        if energy.value is not None:
            segment_energy = Figure(
                key="", label="", value=kwh_from_mj(segment.energy_mj), unit="kWh", method="",
                sigma=0.0, basis="",
            )  # fmt: skip
            text = figure_text(segment_energy, like=energy)
        last = "?" if segment.last_step is None else f"{segment.last_step:,}"
        steps = f"{segment.first_step:,} to {last}"
        if segment.repeated_steps or segment.lost_mj:
            steps += f" ({segment.repeated_steps:,} repeated"
            steps += f", {energy_text(kwh_from_mj(segment.lost_mj))} lost)"
        rows.append((
            str(segment.number), time_text(segment.start_ns), time_text(segment.end_ns),
            duration_text(segment.seconds), text, steps, f"{segment.ended}: {segment.reason}",
        ))  # fmt: skip
    columns = ("Segment", "Start", "End", "Length", "Energy", "Steps", "Why it ended")
    note = "The end of an open segment is the last time on record for it."
    return Table(
        "segments", "Segments", columns, tuple(rows), frozenset({3, 4, 5}), note if rows else ""
    )


def budget_table(figures: RunFigures) -> Table:
    """Budgets and what was used of them."""
    rows = tuple(
        (
            budget.setting,
            f"{number_text(budget.limit)} {budget.unit}".strip(),
            figure_text(budget.figure),
            percent_text(budget.share),
        )
        for budget in figures.budgets
    )
    note = "Budgets count what the facility draws: energy of the machines x PUE."
    columns = ("Setting", "Limit", "Used", "Share used")
    return Table("budget", "Budget", columns, rows, frozenset({1, 2, 3}), note)


def factor_table(figures: RunFigures) -> Table:
    """Emission factors, with the energy under each: in columns, in rows where there are many."""
    cells_by_factor = [_factor_cells(use) for use in figures.factors]
    titles = [f"From record {use.seq} on" for use in figures.factors]
    caption = "Emission factor, PUE and price"
    if len(cells_by_factor) <= MOST_FACTOR_COLUMNS:
        names = list(cells_by_factor[0]) if cells_by_factor else []
        rows = [(name, *(cells[name] for cells in cells_by_factor)) for name in names]
        return Table("factor", caption, ("What", *titles), tuple(rows))
    rows = [(title, *cells.values()) for title, cells in zip(titles, cells_by_factor, strict=True)]
    omitted = len(rows) - MOST_EVENTS
    note = (
        f"{omitted:,} later ones are left out here; the JSON report has all." if omitted > 0 else ""
    )
    return Table(
        "factor", caption, ("Factor", *cells_by_factor[0]), tuple(rows[:MOST_EVENTS]), note=note
    )


def _factor_cells(use: FactorUse) -> dict[str, str]:
    fact = use.fact
    price = "missing"
    if fact.price_per_kwh is not None:
        price = f"{number_text(fact.price_per_kwh)} {fact.currency}/kWh, as given"
    return {
        "Intensity": f"{number_text(fact.intensity_gco2e_per_kwh)} gCO2e/kWh ({fact.method})",
        "Uncertainty": f"± {percent_text(fact.uncertainty)}: {fact.uncertainty_basis}",
        "Zone": f"{fact.zone}, {fact.zone_name}",
        "Accounting": fact.accounting,
        "Source": fact.source,
        "Vintage": fact.vintage,
        "Licence": fact.licence,
        "PUE": f"{fact.pue:g} ({fact.pue_method})",
        "Price": price,
        "Facility energy": f"{number_text(use.facility_kwh)} kWh",
        "Emissions": f"{number_text(use.emissions_kgco2e)} kgCO2e",
    }


def instrument_table(figures: RunFigures) -> Table:
    """Contractual instruments for the electricity, with their evidence."""
    rows = tuple(
        (
            f"{use.fact.instrument} {use.fact.serial}",
            use.fact.registry,
            use.fact.vintage,
            use.fact.market,
            use.fact.source or "missing",
            f"{number_text(use.fact.rate_gco2e_per_kwh)} gCO2e/kWh",
            f"{number_text(use.covered_kwh)} kWh",
            str(use.seq),
        )
        for use in figures.instruments
    )
    columns = (
        "Instrument", "Registry", "Vintage", "Market", "Source", "Rate", "Covers", "Record",
    )  # fmt: skip
    return Table("instruments", "Instruments", columns, rows, frozenset({5, 6, 7}))


def plan_table(figures: RunFigures) -> Table:
    """The plan compared with the run, and the saving relative to a case that did not happen."""
    comparison = figures.plan_comparison
    if comparison is None:
        return Table("outcome", "Plan and outcome", ("What", "Value"), ())
    rows = [(figure.label, figure_text(figure)) for figure in comparison.figures()]
    rows += [
        ("Plan made", time_text(comparison.plan_made_ns)),
        ("Planned finish", time_text(comparison.planned_finish_ns)),
        ("Finished", "not yet" if figures.is_open else time_text(figures.ended_ns)),
    ]
    note = (
        f"The saving is an estimate relative to {comparison.counterfactual}. It is in no total of "
        "this report."
    )
    keys = tuple(figure.key for figure in comparison.figures())
    return Table(
        "outcome", "Plan, outcome and saving", ("What", "Value"), tuple(rows), frozenset({1}), note,
        (*keys, "", "", ""),
    )  # fmt: skip


def estimate_table(figures: RunFigures) -> Table:
    """The estimate made before the run compared with the actual figures."""
    comparison = figures.estimate_comparison
    columns = ("What", "Estimated", "Interval", "Actual", "Ratio", "In the interval")
    if comparison is None:
        return Table("foretold", "Estimate and outcome", columns, ())
    rows, keys = [], []
    for row in (comparison.hours, comparison.energy):
        middle = dataclasses.replace(row.estimated, low=None, high=None, sigma=0.0)
        inside = "yes" if row.is_inside else "no"
        ratio = "missing" if row.ratio.value is None else number_text(row.ratio.value, 3)
        rows.append((
            row.actual.label, figure_text(middle), figure_text(row.estimated),
            f"{figure_text(row.actual)} ({row.actual.method})", ratio, inside,
        ))  # fmt: skip
        keys.append(row.estimated.key)
    fact = comparison.fact
    note = (
        f"The estimate is for {fact.accelerators:,} x {fact.accelerator}, with "
        f"{100 * fact.interval:g} % intervals, for the "
        f"{percent_text(comparison.tokens / fact.tokens)} of the planned tokens that "
        "were trained. The actual figures include data preparation and validation; the estimate "
        "does not."
    )
    return Table(
        "foretold", "Estimate and outcome", columns, tuple(rows), frozenset({1, 2, 3, 4}), note,
        tuple(keys),
    )  # fmt: skip


def correction_table(figures: RunFigures) -> Table:
    """What was corrected afterwards."""
    rows = tuple(
        (
            str(correction.seq),
            f"{correction.of_seq} ({correction.kind.replace('_', ' ')})",
            ", ".join(f"{name}: {_setting(value)}" for name, value in correction.before.items()),
            ", ".join(f"{name}: {_setting(value)}" for name, value in correction.after.items()),
            correction.reason,
            f"{correction.by}, {time_text(correction.time_ns)}",
        )
        for correction in figures.corrections
    )
    columns = ("Record", "Corrects", "Before", "Now", "Reason", "By")
    note = "Every figure of this report has them in; the records before are unchanged."
    return Table("corrections", "Corrections", columns, rows, frozenset({0}), note if rows else "")


def source_table(figures: RunFigures) -> Table:
    """Where each device's energy figures come from."""
    rows = tuple(
        (
            component_text(source.component),
            source.label or source.device,
            source.name,
            source.method,
            f"± {percent_text(source.uncertainty)}",
            "missing" if source.refresh_s is None else duration_text(source.refresh_s),
            source.note,
        )
        for source in figures.provenance.sources
    )
    columns = ("Component", "Device", "Source", "Method", "Gain error", "Refreshed each", "Note")
    return Table("sources", "Sources of energy figures", columns, rows, frozenset({4, 5}))


def subject_table(figures: RunFigures) -> Table:
    """The corpus and the model, or the dataset that was prepared."""
    corpus, model = figures.provenance.corpus, figures.provenance.model
    if figures.provenance.dataset is not None and model is None:
        return _dataset_table(figures.provenance.dataset)
    rows: list[tuple[str, str]] = []
    if model is None:
        rows.append(("Model", "missing"))
    else:
        planned = "no fixed end" if model.total_steps is None else f"{model.total_steps:,} steps"
        rows += [
            ("Model", f"{model.name} ({model.architecture})"),
            ("Parameters", f"{model.parameters:,}, {_start(model)}"),
            ("Precision", model.precision),
            ("Planned", planned),
        ]
    if corpus is None:
        rows.append(("Corpus", "missing"))
    else:
        rows += [
            ("Corpus", corpus.origin),
            ("Corpus licence", corpus.licence or "missing"),
            ("Corpus size", f"{corpus.files:,} files, {bytes_text(corpus.bytes)}"),
            ("Corpus SHA-256", corpus.sha256),
            ("Manifest", corpus.manifest),
            ("Tokenizer", f"{corpus.tokenizer}, {corpus.vocab_size:,} tokens"),
            ("Training tokens", f"{corpus.train_tokens:,}, {_items(corpus)}"),
            ("Validation tokens", f"{corpus.validation_tokens:,}"),
        ]
        rows += [("Prepared dataset", _prepared_text(dataset)) for dataset in corpus.prepared or ()]
    return Table("subject", "Corpus and model", ("What", "Value"), tuple(rows))


def _dataset_table(dataset: DatasetPrepared) -> Table:
    rows = (
        ("Dataset", dataset.name),
        ("Documents", f"{dataset.documents:,} of {dataset.documents_read:,} read"),
        ("Characters", f"{dataset.characters:,}"),
        ("Left out", _counts_text(dataset.removed)),
        ("SHA-256 of the data", dataset.data_sha256),
        ("Folder", dataset.folder),
    )
    return Table("subject", "Prepared dataset", ("What", "Value"), rows)


def _prepared_text(dataset: JsonDict) -> str:
    """Cite a dataset's preparation: its energy is its own run's, and never counted twice."""
    energy = "an amount of energy that is not known"
    if dataset["energy_kwh"] is not None:
        sigma = "" if dataset["sigma_kwh"] is None else f" ± {energy_text(dataset['sigma_kwh'])}"
        energy = f"{energy_text(dataset['energy_kwh'])}{sigma} ({dataset['method']})"
    return (
        f"{dataset['name']}: {dataset['documents']:,} of {dataset['documents_read']:,} documents, "
        f"left out: {_counts_text(dataset['removed'])}. Prepared by run {dataset['run_id']}, which "
        f"by the datasheet used {energy}; that is not counted above. Datasheet SHA-256 "
        f"{dataset['datasheet_sha256']}"
    )


def _counts_text(counts: JsonDict) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"


def _start(model: ModelDescribed) -> str:
    if model.trained_parameters is not None:
        return f"{model.trained_parameters:,} of them trained on top of frozen pretrained weights"
    return "continued from pretrained weights" if model.pretrained else "trained from scratch"


def _items(corpus: CorpusDescribed) -> str:
    """Say what the tokens stand in: blocks, or pairs of a source and a target."""
    if corpus.rows is None:
        return f"in blocks of {corpus.block_size:,}"
    return (
        f"in sources and targets of at most {corpus.block_size:,}; {corpus.rows:,} rows seen as "
        f"{corpus.angles}, {corpus.cut_rows or 0:,} of them cut"
    )


def machine_table(figures: RunFigures) -> Table:
    """Machines and software."""
    provenance = figures.provenance
    rows: list[tuple[str, str]] = []
    machines = dict.fromkeys(
        (m.host, f"{m.cpu}, {m.cpu_cores} cores, {bytes_text(m.memory_bytes)}, {m.os}")
        for m in provenance.machines
    )
    rows += [(f"Machine {host}", text) for host, text in machines] or [("Machine", "missing")]
    rows += [(name, str(version)) for name, version in provenance.software.items()] or [
        ("Software", "missing")
    ]
    if provenance.checkpoints:
        last = provenance.checkpoints[-1]
        text = f"{len(provenance.checkpoints)}; the last at step {last.step:,}: {last.path}"
        rows.append(("Checkpoints", text))
    return Table("machine", "Machine and software", ("What", "Value"), tuple(rows))


def event_table(figures: RunFigures) -> Table:
    """What happened, by time."""
    shown = figures.events[:MOST_EVENTS]
    rows = tuple(
        (time_text(event.time_ns), str(event.seq), event.kind.replace("_", " "), event.text)
        for event in shown
    )
    omitted = len(figures.events) - len(shown)
    note = f"{omitted:,} later ones are left out here; the JSON report has all." if omitted else ""
    columns = ("Time", "Record", "Kind", "What")
    return Table("events", "Events", columns, rows, frozenset({1}), note)


def settings_table(figures: RunFigures) -> Table:
    """The settings that held last."""
    rows = tuple((key, _setting(value)) for key, value in figures.provenance.config.items())
    return Table("settings", "Settings", ("Setting", "Value"), rows)


def _setting(value: object) -> str:
    return "not set" if value is None else str(value)
