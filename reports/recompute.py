"""Recomputes what a published report says from the raw records, figure by figure.

Twice: every figure the way in which reports make it, from the records up to the head that the
report names; and the main ones another way, record by record in exact fractions, so that a mistake
in the first way is found too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.run_figures import figures_of
from carbon_trainer.reports.record.run_record import read_run
from carbon_trainer.reports.render.run_json import SCHEMA_VERSION, run_document
from carbon_trainer.units import MJ_PER_KWH

TOLERANCE = 1e-12

EARLIER_WORDING = (
    ("each resumption went on from;", "each resumption continued from;"),
    ("steps were done again.", "steps were repeated."),
    ("the same work begun at", "the same work started at"),
)
"""Sentences of reports by version 0.1.0, and the present ones that say the same."""


def recompute(ledger: Ledger, run_id: str, published: Mapping[str, Any]) -> list[str]:
    """Compare a published report with the ledger.

    Args:
        ledger: where the run is; its chain should have been verified.
        run_id: its full id.
        published: the report's JSON document.

    Returns:
        A sentence for each thing that differs; empty where the report is what the records give.
    """
    version = published.get("schema_version")
    if version != SCHEMA_VERSION:
        reason = (
            f"the report is of schema {version}, this carbon-trainer recomputes {SCHEMA_VERSION}: "
            "write it again with `carbon-train report`"
        )
        return [reason]
    if published.get("run", {}).get("id") != run_id:
        return [f"the report is of run {published.get('run', {}).get('id')}, not of {run_id}"]
    published = _in_present_words(published)
    chain = published["chain"]
    head = ChainHead(int(chain["seq"]), str(chain["sha256"]))
    try:
        document = run_document(figures_of(read_run(ledger, run_id, head)))
    except CarbonTrainerError as error:
        return [str(error)]
    differences = list(_differences(published["figures"], document["figures"]))
    differences += _main_differences(published["figures"], _by_fractions(ledger, run_id, head.seq))
    # The document as JSON has it, so that tuples and lists are alike.
    document_as_json = json.loads(json.dumps(document))
    differences += [
        f"the report's part {part!r} is not what the records give"
        for part in sorted(document_as_json.keys() | published.keys())
        if part != "figures" and document_as_json.get(part) != published.get(part)
    ]
    return differences


def _in_present_words(part: Any) -> Any:
    """Return a published report, or a part of it, with earlier sentences as they are now."""
    if isinstance(part, Mapping):
        return {key: _in_present_words(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_in_present_words(value) for value in part]
    if isinstance(part, str):
        for old_text, present in EARLIER_WORDING:
            part = part.replace(old_text, present)
    return part


def _differences(
    published: Mapping[str, Mapping[str, Any]], recomputed: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for key in sorted(published.keys() | recomputed.keys()):
        if key not in recomputed:
            yield f"the report has a figure {key!r} that the records do not give"
        elif key not in published:
            yield f"the report lacks the figure {key!r}"
        else:
            yield from _difference(key, published[key], recomputed[key])


def _difference(
    key: str, published: Mapping[str, Any], recomputed: Mapping[str, Any]
) -> Iterator[str]:
    for name in ("value", "sigma", "low", "high"):
        if not _equal(published.get(name), recomputed[name]):
            unit = recomputed["unit"]
            yield (
                f"{key}: the report says {name} {published.get(name)} {unit}, the records give "
                f"{recomputed[name]} {unit}"
            )
    for name in ("unit", "method", "basis", "formula"):
        if published.get(name) != recomputed[name]:
            yield (
                f"{key}: the report says {name} {published.get(name)!r}, the records "
                f"{recomputed[name]!r}"
            )
    if json.loads(json.dumps(recomputed["inputs"])) != published.get("inputs"):
        yield f"{key}: the report's inputs are not the records'"


def _equal(published: object, recomputed: object) -> bool:
    if isinstance(published, int | float) and isinstance(recomputed, int | float):
        return math.isclose(published, recomputed, rel_tol=TOLERANCE, abs_tol=0.0)
    return published == recomputed


def _main_differences(
    published: Mapping[str, Mapping[str, Any]], exact: Mapping[str, Fraction]
) -> Iterator[str]:
    for key, value in sorted(exact.items()):
        stated = published.get(key, {}).get("value")
        if stated is not None and not math.isclose(stated, float(value), rel_tol=1e-9):
            yield f"{key}: the report says {stated}, its records add up to {float(value)}"


def _by_fractions(ledger: Ledger, run_id: str, until_seq: int) -> dict[str, Fraction]:
    """Add up energy, facility energy, emissions and cost, record by record."""
    bodies = list(_corrected(ledger, run_id, until_seq))
    factors = [body for kind, body in bodies if kind == "intensity_used"]
    sums: dict[str, Fraction] = {}
    # Factors passed so far; intervals before the first one are counted under it.
    number = 0
    priced = bool(factors) and all(factor["price_per_kwh"] is not None for factor in factors)
    for kind, body in bodies:
        if kind == "intensity_used":
            number += 1
        if kind != "interval":
            continue
        kwh = Fraction(int(body["energy_mj"]), MJ_PER_KWH)
        _add(sums, "energy", kwh)
        if factors:
            factor = factors[max(0, number - 1)]
            facility = kwh * Fraction(factor["pue"])
            _add(sums, "facility-energy", facility)
            grams = facility * Fraction(factor["intensity_gco2e_per_kwh"])
            _add(sums, "emissions", grams / 1000)
            if priced:
                _add(sums, "cost", facility * Fraction(factor["price_per_kwh"]))
    return sums


def _add(sums: dict[str, Fraction], key: str, value: Fraction) -> None:
    sums[key] = sums.get(key, Fraction(0)) + value


def _corrected(ledger: Ledger, run_id: str, until_seq: int) -> Iterator[tuple[str, dict[str, Any]]]:
    changes: dict[int, dict[str, Any]] = {}
    for stored in ledger.facts(run_id):
        if stored.kind == "corrected" and stored.seq <= until_seq:
            changes.setdefault(int(stored.body["of_seq"]), {}).update(stored.body["changes"])
    for seq, _, kind, body, _ in ledger.raw_records(run_id):
        if seq <= until_seq and body is not None:
            yield kind, {**json.loads(body), **changes.get(seq, {})}
