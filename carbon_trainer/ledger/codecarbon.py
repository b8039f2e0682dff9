"""Imports CodeCarbon's ``emissions.csv`` into a ledger: a run for each of its rows.

What the file does not say is not made up: it has no method of its energies, so they are
estimated; nor the factor's source and vintage, nor the time zone of its timestamps, which is taken
to be UTC, and each run says so.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from carbon_trainer.errors import InputError
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    Fact,
    Incomplete,
    IntensityUsed,
    Interval,
    MachineDescribed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.units import MJ_PER_KWH

COMPONENTS = ("gpu", "cpu", "ram")
NEEDED = ("timestamp", "duration", "emissions", "energy_consumed")
UNCERTAINTY = {"gpu": 0.05, "cpu": 0.30, "ram": 0.50}
"""Relative one-sigma errors: an NVML counter's (NVIDIA: +-5 %), and models of power by load and
by memory size, which differ from meters by about these shares."""
AGREEMENT = 0.01
_MOST_GCO2E_PER_KWH = 1500.0


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """The run of one row; ``is_new`` is False where the ledger had it already."""

    run_id: str
    is_new: bool


def import_emissions(ledger: Ledger, path: Path, user: str = "") -> list[ImportedRun]:
    """Import every row of an ``emissions.csv``; a second time, it changes nothing.

    Args:
        ledger: where to.
        path: the file.
        user: the user whom the runs are attributed to.

    Raises:
        InputError: naming the file, the row and what is wrong with it; nothing is then imported.
    """
    runs = [_run(path, number, row, user) for number, row in _rows(path)]
    imported = []
    for run_id, stamped in runs:
        is_new = ledger.head(run_id).seq == 0
        if is_new:
            ledger.append(run_id, stamped, ChainHead())
        imported.append(ImportedRun(run_id, is_new))
    return imported


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for name in NEEDED:
                if name not in (reader.fieldnames or ()):
                    raise InputError(
                        f"{path} has no column {name!r}: it is not CodeCarbon's emissions.csv."
                    )
            yield from enumerate(reader, start=2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}.") from error


def _run(
    path: Path, number: int, row: Mapping[str, str], user: str
) -> tuple[str, list[tuple[int, Fact]]]:
    place = f"{path}, line {number}"
    end_ns = _time_ns(place, row["timestamp"])
    seconds = _number(place, row, "duration")
    start_ns = end_ns - round(seconds * 1e9)
    pue = _number(place, row, "pue", 1.0) or 1.0
    energies = {name: _number(place, row, f"{name}_energy", 0.0) for name in COMPONENTS}
    total_kwh, emissions = _number(place, row, "energy_consumed"), _number(place, row, "emissions")
    _check(place, energies, total_kwh, emissions)
    # A row may have the total only.
    if not any(energies.values()) and total_kwh:
        energies = {"machine": total_kwh}
    text = "\n".join(f"{name}={row[name]}" for name in sorted(filter(None, row)))
    # The id is of the row's content, so that importing the same file again finds the same runs.
    digest = hashlib.sha256(text.encode()).hexdigest()
    start = datetime.fromtimestamp(start_ns // 10**9, UTC)
    run_id = f"{start:%Y%m%d-%H%M%S}-{digest[:6]}"
    facts: list[tuple[int, Fact]] = [
        (start_ns, _opened(path, row, user)),
        (start_ns, _machine(row, energies)),
    ]
    if total_kwh:
        facts.append((start_ns, _factor(row, 1000 * emissions / total_kwh, pue)))
    facts += [
        # CodeCarbon multiplies by the PUE; the ledger keeps the machines' energy, before it.
        (end_ns, _interval(name, kwh / pue, start_ns, end_ns))
        for name, kwh in energies.items()
        if kwh
    ]
    gap = "emissions.csv names no time zone; its timestamp is taken to be UTC"
    facts += [
        (end_ns, Incomplete(what="time zone", why=gap)),
        (end_ns, RunClosed(
            status="finished", exit_status=0, reason=f"taken from line {number} of {path.name}",
            step=0, tokens=0, checkpoint=None,
        )),
    ]  # fmt: skip
    return run_id, facts


def _check(place: str, energies: Mapping[str, float], total_kwh: float, emissions: float) -> None:
    parts = math.fsum(energies.values())
    if parts and not math.isclose(parts, total_kwh, rel_tol=AGREEMENT):
        raise InputError(
            f"{place}: cpu, gpu and ram energy add up to {parts:.6g} kWh, but energy_consumed is "
            f"{total_kwh:.6g} kWh: rows may have been edited."
        )
    if total_kwh and 1000 * emissions / total_kwh > _MOST_GCO2E_PER_KWH:
        raise InputError(
            f"{place}: {emissions:.6g} kg of {total_kwh:.6g} kWh is more than any grid emits: the "
            "column emissions is in kilograms; it may hold grams."
        )


def _number(place: str, row: Mapping[str, str], name: str, default: float | None = None) -> float:
    text = (row.get(name) or "").strip()
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{place}: {name} is {text!r}, but should be a number of 0 or more.")
    return value


def _time_ns(place: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{place}: timestamp is {text!r}, but should be like 2026-11-24T12:00:00."
        ) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp()) * 10**9


def _opened(path: Path, row: Mapping[str, str], user: str) -> RunOpened:
    return RunOpened(
        name=row.get("experiment_id") or row.get("run_id") or path.stem,
        project=row.get("project_name") or "codecarbon",
        config={},
        software={
            "codecarbon": row.get("codecarbon_version") or "not stated",
            "python": row.get("python_version") or "not stated",
        },
        entry="codecarbon import",
        user=user,
    )


def _machine(row: Mapping[str, str], energies: Mapping[str, float]) -> MachineDescribed:
    labels = {"gpu": row.get("gpu_model"), "cpu": row.get("cpu_model"), "ram": ""}
    sources = [
        {
            "name": "CodeCarbon's emissions.csv", "component": name, "device": name,
            "label": labels.get(name) or name, "method": "estimated", "refresh_s": None,
            "uncertainty": UNCERTAINTY.get(name, 0.30),
            "note": "the file does not say how it was known",
        }
        for name, kwh in energies.items()
        if kwh
    ]  # fmt: skip
    memory = row.get("ram_total_size") or "0"
    cores = row.get("cpu_count") or "0"
    return MachineDescribed(
        host="not stated",
        os=row.get("os") or "not stated",
        cpu=row.get("cpu_model") or "not stated",
        cpu_cores=int(float(cores)) if _is_number(cores) else 0,
        memory_bytes=round(float(memory) * 1e9) if _is_number(memory) else 0,
        sources=sources,
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _factor(row: Mapping[str, str], grams_per_kwh: float, pue: float) -> IntensityUsed:
    country, region = row.get("country_iso_code") or "", row.get("region") or ""
    return IntensityUsed(
        zone="-".join(part for part in (country, region) if part) or "not stated",
        zone_name=row.get("country_name") or "not stated",
        intensity_gco2e_per_kwh=grams_per_kwh,
        method="estimated",
        accounting="average, kind not stated",
        source="emissions over energy of CodeCarbon's emissions.csv, which names no factor",
        vintage="not stated",
        licence="not stated",
        uncertainty=0.28,
        uncertainty_basis="as for an annual mean; the file tells none",
        pue=pue,
        pue_method="assumed" if pue == 1.0 else "as given",
    )


def _interval(component: str, energy_kwh: float, start_ns: int, end_ns: int) -> Interval:
    return Interval(
        device=component, component=component, start_ns=start_ns, end_ns=end_ns,
        energy_mj=round(energy_kwh * MJ_PER_KWH), method="estimated", sigma_mj=0, phase="train",
    )  # fmt: skip
