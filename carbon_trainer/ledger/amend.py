"""Amends a run's record after it has ended: always a new record, with a reason and a name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from carbon_trainer.errors import InputError, did_you_mean
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    FACT_KINDS,
    Amendment,
    Corrected,
    Interval,
    JsonDict,
    Resumed,
    RunOpened,
)
from carbon_trainer.ledger.reader import StoredFact
from carbon_trainer.ledger.state import STATES, last_state
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.terms import INSTRUMENTS, OPERATIONS

CORRECTABLE = {
    "run_opened": ("name", "project", "user"),
    "corpus_described": ("origin", "licence"),
    "model_described": ("name", "architecture", "parameters", "pretrained", "precision"),
    "intensity_used": (
        "zone", "zone_name", "intensity_gco2e_per_kwh", "method", "accounting", "source",
        "vintage", "licence", "uncertainty", "uncertainty_basis", "pue", "pue_method",
        "price_per_kwh", "currency",
    ),
    "boundary_stated": ("operation", "organisation", "provider", "region"),
    "instrument_held": (
        "instrument", "registry", "serial", "vintage", "market", "rate_gco2e_per_kwh",
        "energy_kwh", "source",
    ),
}  # fmt: skip
"""What of which kind of record may be corrected. Metered energy may not: a meter's record is what
it is, and a fault of the meter is stated as a gap."""

_RANGES: dict[str, tuple[float, float]] = {
    "intensity_gco2e_per_kwh": (0.0, 3000.0),
    "rate_gco2e_per_kwh": (0.0, 3000.0),
    "uncertainty": (0.0, 5.0),
    "pue": (1.0, 5.0),
    "price_per_kwh": (0.0, 1e6),
    "energy_kwh": (0.0, 1e12),
    "parameters": (0.0, 1e15),
}


def amend(ledger: Ledger, run_id: str, fact: Amendment, time_ns: int) -> ChainHead:
    """Append an amendment to a closed run.

    Args:
        ledger: where the run is.
        run_id: its full id.
        fact: the statement.
        time_ns: now, nanoseconds since the epoch.

    Returns:
        The chain's new head.

    Raises:
        InputError: if the run is open, or the statement is not valid.
    """
    _check_closed(ledger, run_id)
    if not fact.by.strip():
        raise InputError("who says so? Give your name with --by.")
    if isinstance(fact, Corrected):
        _check_correction(ledger, run_id, fact)
    else:
        _check_values(fact.kind, fact.body())
    return ledger.append(run_id, [(time_ns, fact)], ledger.head(run_id))


def _check_closed(ledger: Ledger, run_id: str) -> None:
    """An open run's own process appends to its chain; two cannot."""
    state = last_state(ledger.facts(run_id, *STATES))
    if state is None or state.kind in (RunOpened.kind, Resumed.kind):
        raise InputError(
            f"run {run_id} is open: its record can be amended when it has ended. If its process is "
            "gone, the next `carbon-train fit` in its folder closes its record."
        )


def changes_of(ledger: Ledger, run_id: str, seq: int, texts: Mapping[str, str]) -> JsonDict:
    """Read a correction's values as people type them, by the types of the record's fields.

    Args:
        ledger: where the run is.
        run_id: its full id.
        seq: the record to be corrected.
        texts: what is right, by field; ``none`` is no value at all.

    Raises:
        InputError: if there is no such record; values are checked when they are appended.
    """
    types = _types(_record(ledger, run_id, seq).kind)
    return {name: _typed(text.strip(), types.get(name, "str")) for name, text in texts.items()}


def _typed(text: str, type_name: str) -> object:
    if "None" in type_name and text.casefold() in ("none", "null"):
        return None
    if type_name.startswith("bool") and text.casefold() in ("true", "false"):
        return text.casefold() == "true"
    if type_name.startswith(("int", "float")):
        try:
            return int(text) if type_name.startswith("int") else float(text)
        except ValueError:
            return text
    return text


def _types(kind: str) -> dict[str, str]:
    return {field.name: str(field.type) for field in dataclasses.fields(FACT_KINDS[kind])}


def _check_correction(ledger: Ledger, run_id: str, fact: Corrected) -> None:
    if not fact.reason.strip():
        raise InputError("why is the record wrong? Give a --reason.")
    target = _record(ledger, run_id, fact.of_seq)
    allowed = CORRECTABLE.get(target.kind)
    if allowed is None:
        raise InputError(
            f"record {fact.of_seq} is one of {target.kind}, which is not corrected; the kinds that "
            f"are: {', '.join(CORRECTABLE)}."
        )
    for name in fact.changes:
        if name not in allowed:
            raise InputError(
                f"{target.kind} has no field {name!r} that can be corrected."
                f"{did_you_mean(name, allowed)} They are {', '.join(allowed)}."
            )
    _check_values(target.kind, {**target.body, **fact.changes})


def _record(ledger: Ledger, run_id: str, seq: int) -> StoredFact:
    for stored in ledger.facts(run_id):
        if stored.seq == seq:
            return stored
    last = ledger.head(run_id).seq
    reason = f"an {Interval.kind}, which is not corrected" if 0 < seq <= last else "not there"
    raise InputError(
        f"record {seq} of run {run_id} is {reason}: its report names the record of each figure."
    )


def _check_values(kind: str, body: JsonDict) -> None:
    types = _types(kind)
    for name, value in body.items():
        _check_value(name, value, types.get(name, "str"))
    if kind == "boundary_stated":
        _check_choice("operation", body["operation"], OPERATIONS)
    if kind == "instrument_held":
        _check_choice("instrument", body["instrument"], INSTRUMENTS)
        _check_evidence(body)


def _check_value(name: str, value: object, type_name: str) -> None:
    if value is None and "None" in type_name:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {"str": isinstance(value, str), "bool": isinstance(value, bool)}
    kind = type_name.split(" ")[0]
    if kind in ("int", "float"):
        if not is_number or (kind == "int" and not float(value).is_integer()):  # type: ignore[arg-type]
            raise InputError(f"{name} is {value!r}, but should be a number.")
        low, high = _RANGES.get(name, (-math.inf, math.inf))
        if not low <= float(value) <= high:  # type: ignore[arg-type]
            raise InputError(f"{name} is {value!r}, but should be from {low:g} to {high:g}.")
    elif not fits.get(kind, True):
        raise InputError(f"{name} is {value!r}, but should be a {kind}.")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        raise InputError(f"{name} is {value!r}.{hint} It is one of {', '.join(allowed)}.")


def _check_evidence(body: JsonDict) -> None:
    """Scope 2 Quality Criteria (GHG Protocol Scope 2 Guidance, ch. 7) ask for all of these."""
    for name in ("registry", "serial", "vintage", "market"):
        if not str(body[name]).strip():
            raise InputError(f"the instrument has no {name}: it does not count without evidence.")
    if body["instrument"] != "residual mix" and body["energy_kwh"] is None:
        raise InputError("the instrument has no energy_kwh: how much of the run does it cover?")
