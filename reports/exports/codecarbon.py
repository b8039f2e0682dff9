"""CodeCarbon's ``emissions.csv``, so that what reads it reads ours.

One row a run, the columns of CodeCarbon 3.3 in its order: energy in kWh with PUE multiplied in,
emissions in kg, powers without PUE. What it has no column for (factor, uncertainty, market-based
figure) is in the other forms.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import time_text
from carbon_trainer.units import kwh_from_mj

COLUMNS = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions",
    "emissions_rate", "cpu_power", "gpu_power", "ram_power", "cpu_energy", "gpu_energy",
    "ram_energy", "energy_consumed", "water_consumed", "country_name", "country_iso_code",
    "region", "cloud_provider", "cloud_region", "os", "python_version", "codecarbon_version",
    "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip


def codecarbon(figures: RunFigures) -> str:
    """Write a run as CodeCarbon does."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerow({name: "" if value is None else value for name, value in _row(figures).items()})
    return text.getvalue()


def _row(figures: RunFigures) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    seconds = figures.active_time.value
    emissions = figures.emissions.value
    facility = figures.facility_energy.value
    row |= {
        "timestamp": time_text(figures.ended_ns).removesuffix(" UTC").replace(" ", "T"),
        "project_name": figures.opened.project if figures.opened else None,
        "run_id": figures.run_id,
        "duration": seconds,
        "emissions": emissions,
        "energy_consumed": facility,
        "tracking_mode": "machine",
        "python_version": figures.provenance.software.get("python"),
        "codecarbon_version": figures.provenance.software.get("codecarbon"),
    }
    if emissions is not None and seconds:
        row["emissions_rate"] = emissions / seconds
    row |= _components(figures, seconds)
    row |= _location(figures)
    return row


def _components(figures: RunFigures, seconds: float | None) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    ratio = 1.0
    if figures.energy.value and figures.facility_energy.value:
        ratio = figures.facility_energy.value / figures.energy.value
    for tally in figures.by_component:
        if tally.name in ("cpu", "gpu", "ram"):
            columns[f"{tally.name}_energy"] = kwh_from_mj(tally.energy_mj) * ratio
            if seconds:
                columns[f"{tally.name}_power"] = tally.energy_mj / 1000 / seconds
    return columns


def _location(figures: RunFigures) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if figures.factors:
        fact = figures.factors[-1].fact
        country, _, region = fact.zone.partition("-")
        columns |= {
            "country_name": fact.zone_name, "country_iso_code": country, "region": region,
            "pue": fact.pue,
        }  # fmt: skip
    if figures.provenance.machines:
        machine = figures.provenance.machines[-1]
        columns |= {
            "os": machine.os, "cpu_count": machine.cpu_cores, "cpu_model": machine.cpu,
            "ram_total_size": machine.memory_bytes / 1e9,
        }  # fmt: skip
    boards = {s.device: s.label for s in figures.provenance.sources if s.component == "gpu"}
    if boards:
        columns |= {
            "gpu_count": len(boards),
            "gpu_model": ", ".join(dict.fromkeys(boards.values())),
        }
    if figures.boundary:
        stated = figures.boundary
        columns["on_cloud"] = "Y" if stated.operation == "cloud" else "N"
        columns |= {"cloud_provider": stated.provider, "cloud_region": stated.region}
    return columns
