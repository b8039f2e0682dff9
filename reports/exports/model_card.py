"""Hugging Face model card: ``co2_eq_emissions`` in the front matter, and a section below.

An existing README.md keeps everything else: its other keys, its comments, its text.
Source of the keys: huggingface/hub-docs, model-cards-co2 (emissions in grams of CO2eq).
"""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from carbon_trainer.errors import InputError
from carbon_trainer.reports.exports.convert import grams
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import figure_text
from carbon_trainer.reports.render.templating import markdown_text

KEY = "co2_eq_emissions"
BEGIN = "<!-- carbon-trainer: begin -->"
END = "<!-- carbon-trainer: end -->"


def model_card(figures: RunFigures, existing: str = "") -> str:
    """Write a run's emissions into a model card.

    Args:
        figures: the run's.
        existing: the card as it is; a new one by default.

    Raises:
        InputError: if the card's front matter is not YAML, or our section has lost its end.
    """
    header, body = _split(existing)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        data = yaml.load(header) if header.strip() else CommentedMap()
    except YAMLError as error:
        message = " ".join(str(error).split())
        raise InputError(f"the model card's front matter is not YAML: {message}.") from error
    if not isinstance(data, dict):
        raise InputError("the model card's front matter is not a list of keys: fix it first.")
    data[KEY] = card_metadata(figures)
    text = io.StringIO()
    yaml.dump(data, text)
    return f"---\n{text.getvalue()}---\n{_with_section(body, _section(figures))}"


def card_metadata(figures: RunFigures) -> dict[str, Any]:
    """Return the value of ``co2_eq_emissions``; without ``emissions`` where they are missing."""
    metadata: dict[str, Any] = {}
    if figures.emissions.value is not None:
        metadata["emissions"] = grams(figures.emissions.value)
    metadata["source"] = (
        f"carbon-trainer, {figures.emissions.method}; run {figures.run_id}, ledger record "
        f"{figures.head.seq}, SHA-256 {figures.head.sha256}"
    )
    model = figures.provenance.model
    if model is not None:
        metadata["training_type"] = "fine-tuning" if model.pretrained else "pre-training"
    zones = dict.fromkeys(use.fact.zone_name for use in figures.factors)
    if zones:
        metadata["geographical_location"] = ", ".join(zones)
    hardware = _hardware(figures)
    if hardware:
        metadata["hardware_used"] = hardware
    return metadata


def _hardware(figures: RunFigures) -> str:
    boards = {s.device: s.label or s.device for s in figures.provenance.sources
              if s.component == "gpu"}  # fmt: skip
    if boards:
        counts = Counter(boards.values())
        return ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    hosts = {machine.host: machine.cpu for machine in figures.provenance.machines}
    return ", ".join(f"{count} {cpu}" for cpu, count in sorted(Counter(hosts.values()).items()))


def _split(text: str) -> tuple[str, str]:
    """Take a card apart: front matter without its fences, and the rest."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != "---":
        return "", text
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "".join(lines[1:number]), "".join(lines[number + 1 :])
    raise InputError("the model card's front matter has no end: put a line `---` below it.")


def _with_section(body: str, section: str) -> str:
    start, end = body.find(BEGIN), body.find(END)
    if start < 0 and end < 0:
        gap = "" if not body or body.endswith("\n\n") else "\n" if body.endswith("\n") else "\n\n"
        return f"{body}{gap}{section}\n"
    if start < 0 or end < start:
        raise InputError(
            f"the model card has only one of the lines {BEGIN} and {END}, or in the wrong order: "
            "remove it, and the section is written again."
        )
    return f"{body[:start]}{section}{body[end + len(END) :]}"


def _section(figures: RunFigures) -> str:
    table_figures = (
        figures.emissions, figures.emissions_market, figures.facility_energy, figures.energy,
        figures.embodied, figures.coverage,
    )  # fmt: skip
    texts = [
        (markdown_text(f.label), markdown_text(figure_text(f)), f.method) for f in table_figures
    ]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in texts)
    basis = markdown_text(figures.emissions.basis)
    return f"""{BEGIN}
## Energy and emissions of training

| Figure | Value | Method |
| --- | --- | --- |
{rows}

± is one standard deviation. {basis} Other runs, and use of the model, are not included.
{END}"""
