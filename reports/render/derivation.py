"""How a figure is made, in words: basis, formula and inputs."""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.reports.figures.figure import Figure, Input
from carbon_trainer.reports.figures.text import (
    figure_text,
    number_text,
)

MOST_INPUTS = 60
"""A figure of very many parts shows the first ones; the JSON report has all."""


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
