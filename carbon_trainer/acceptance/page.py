"""The check's findings as a self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carbon_trainer.acceptance.charts import charts_of
from carbon_trainer.acceptance.findings import Cell, Figure, PartResult
from carbon_trainer.reports.render.table import Table
from carbon_trainer.reports.render.templating import html_environment

TEMPLATES = Path(__file__).parent / "templates"


def page(document: dict[str, Any]) -> str:
    """Return the page of a document of ``check.document_of``."""
    parts = [PartResult.from_json(part) for part in document["parts"]]
    template = html_environment(TEMPLATES).get_template("acceptance.html.j2")
    return template.render(
        document=document,
        title=_title(document, parts),
        summary=_summary(parts),
        parts=[
            {
                "result": part,
                "checks": _checks(part),
                "charts": charts_of(part),
                "tables": [*_figures(part), *_tables(part)],
            }
            for part in parts
        ],
        machine=_pairs("machine", "Machine", document["machine"]),
        versions=_pairs("versions", "Versions", document["versions"]),
    )


def _title(document: dict[str, Any], parts: list[PartResult]) -> str:
    rows = [row for part in parts for table in part.tables for row in table.rows]
    board = next((row[1] for row in rows if row[0] == "board"), None)
    return "Acceptance check" if board is None else f"Acceptance check: {board}"


def _summary(parts: list[PartResult]) -> Table:
    rows = [
        (
            part.title,
            part.status,
            f"{sum(check.holds for check in part.checks)} of {len(part.checks)}",
            f"{part.seconds:.0f}",
            part.reason,
        )
        for part in parts
    ]
    columns = ("Part", "Result", "Promises that hold", "Seconds", "Reason")
    return Table("summary", "Parts", columns, tuple(rows), frozenset({3}))


def _checks(part: PartResult) -> Table:
    rows = [(check.promise, "yes" if check.holds else "no", check.found) for check in part.checks]
    columns = ("Promise", "Holds", "Found")
    return Table(f"{part.name}-checks", "Promises", columns, tuple(rows))


def _figures(part: PartResult) -> list[Table]:
    """Return a table of the part's figures; none where it has none."""
    rows = [
        (figure.name, _value(figure), str(figure.method), figure.note) for figure in part.figures
    ]
    columns = ("Figure", "Value", "Method", "Note")
    table = Table(f"{part.name}-figures", "Figures", columns, tuple(rows), frozenset({1}))
    return [table] if rows else []


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "missing"
    sigma = "" if figure.sigma is None else f" ± {figure.sigma:,.3g}"
    return f"{figure.value:,.4g}{sigma} {figure.unit}".strip()


def _tables(part: PartResult) -> list[Table]:
    return [
        Table(
            f"{part.name}-{number}",
            rows.caption,
            tuple(name[:1].upper() + name[1:] for name in rows.columns),
            tuple(tuple(map(_cell, row)) for row in rows.rows),
            frozenset(range(1, len(rows.columns))) if len(rows.columns) > 2 else frozenset(),
        )
        for number, rows in enumerate(part.tables)
    ]


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _pairs(key: str, caption: str, values: dict[str, Any]) -> Table:
    rows = tuple((name.replace("_", " "), str(value)) for name, value in values.items())
    return Table(key, caption, ("What", "Value"), rows)
