"""Tables of the record: what was trained with what, what happened, what was corrected."""

from __future__ import annotations

from carbon_trainer.ledger.facts import CorpusDescribed, DatasetPrepared, JsonDict, ModelDescribed
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import (
    bytes_text,
    component_text,
    duration_text,
    percent_text,
    time_text,
)
from carbon_trainer.reports.render.table import Table
from carbon_trainer.units import energy_text

MOST_ROWS = 200
"""Rows of a table on the page; the JSON report has all."""


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
    events = figures.events[:MOST_ROWS]
    rows = tuple(
        (time_text(event.time_ns), str(event.seq), event.kind.replace("_", " "), event.text)
        for event in events
    )
    omitted = len(figures.events) - len(events)
    note = f"{omitted:,} later ones are left out here; the JSON report has all." if omitted else ""
    columns = ("Time", "Record", "Kind", "What")
    return Table("events", "Events", columns, rows, frozenset({1}), note)


def settings_table(figures: RunFigures) -> Table:
    """The settings that held last."""
    rows = tuple((key, _setting(value)) for key, value in figures.provenance.config.items())
    return Table("settings", "Settings", ("Setting", "Value"), rows)


def _setting(value: object) -> str:
    return "not set" if value is None else str(value)
