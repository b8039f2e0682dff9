"""BoAmps: Boavizta's format for the energy of an AI task (schemas: CC BY 4.0, Boavizta).

It has no field for emissions, PUE, embodied share or an interval; these are added under
``carbonTrainer``, which the schema permits.
"""

from __future__ import annotations

import uuid
from typing import Any

from carbon_trainer.errors import InputError
from carbon_trainer.reports.exports.documents import json_text
from carbon_trainer.reports.figures.run_figures import RunFigures
from carbon_trainer.reports.figures.text import figure_text, time_text
from carbon_trainer.units import kwh_from_mj

FORMAT_VERSION = "1.1.0"
SPECIFICATION = "https://github.com/Boavizta/BoAmps/tree/main/model"
_NAMESPACE = uuid.UUID("6f0d4e4e-3c52-5f9a-9a53-6a1c1f1f0b9a")
_GRADES = (("high", 0.10), ("medium", 0.25), ("low", 0.50))
_PLACES = {"own": "onPremise", "cloud": "publicCloud", "colocation": "other"}


def boamps(figures: RunFigures) -> str:
    """Write a run as a BoAmps report.

    Raises:
        InputError: if no energy is on record, as the schema asks for a measure.
    """
    return json_text(boamps_document(figures))


def boamps_document(figures: RunFigures) -> dict[str, Any]:
    """Return a run as a BoAmps report; as ``boamps``."""
    document: dict[str, Any] = {
        "header": _header(figures),
        "task": _task(figures),
        "measures": _measures(figures),
        **_machine(figures),
        "infrastructure": _infrastructure(figures),
    }
    if figures.factors:
        document["environment"] = _environment(figures)
    grade = quality(figures)
    if grade:
        document["quality"] = grade
    document["carbonTrainer"] = _own_figures(figures)
    return document


def quality(figures: RunFigures) -> str | None:
    """Grade the energy by its interval of two sigmas; None where none is good enough or known.

    BoAmps: high is an error of +-10 %, medium +-25 %, low +-50 %.
    """
    relative = figures.energy.relative
    if relative is None:
        return None
    return next((name for name, limit in _GRADES if 2 * relative <= limit), None)


def _header(figures: RunFigures) -> dict[str, Any]:
    status = "draft" if figures.is_open else "corrective" if figures.corrections else "final"
    publisher: dict[str, Any] = {"confidentialityLevel": "internal"}
    if figures.boundary and figures.boundary.organisation:
        publisher["name"] = figures.boundary.organisation
    if figures.opened:
        publisher["projectName"] = figures.opened.project
    return {
        "formatVersion": FORMAT_VERSION,
        "formatVersionSpecificationUri": SPECIFICATION,
        "reportId": str(uuid.uuid5(_NAMESPACE, figures.head.sha256)),
        "reportDatetime": _date(figures.ended_ns),
        "reportStatus": status,
        "publisher": publisher,
    }


def _task(figures: RunFigures) -> dict[str, Any]:
    model, corpus = figures.provenance.model, figures.provenance.corpus
    algorithm: dict[str, Any] = {"algorithmType": "llm", "framework": "PyTorch Lightning"}
    version = figures.provenance.software.get("lightning")
    if version:
        algorithm["frameworkVersion"] = str(version)
    if model:
        algorithm |= {
            "trainingType": "unsupervisedLearning",
            "algorithmName": model.architecture,
            "parametersNumber": model.parameters / 1e9,
            "optimizer": "adamw",
            "quantization": model.precision,
        }
    data: dict[str, Any] = {"dataUsage": "input", "dataType": "text"}
    if corpus:
        data |= {"dataSize": corpus.bytes / 1e9, "sourceUri": corpus.origin}
    if figures.tokens.value:
        data |= {"dataType": "token", "dataQuantity": int(figures.tokens.value)}
    return {
        "taskStage": "finetuning" if model and model.pretrained else "training",
        "taskFamily": "text generation",
        "algorithms": [algorithm],
        "dataset": [data],
        "taskDescription": "Energy of the machines' metered components, before PUE; "
        f"{figure_text(figures.coverage)} of device time measured."
        if figures.coverage.value is not None
        else "No energy is on record.",
    }


def _measures(figures: RunFigures) -> list[dict[str, Any]]:
    rows = figures.by_component
    if not rows:
        raise InputError(
            f"run {figures.run_id} has no energy on record, and a BoAmps report cannot be without: "
            "leave boamps out of --format."
        )
    measures = []
    for row in rows:
        sources = figures.provenance.source_texts(row.name)
        measure: dict[str, Any] = {
            "measurementMethod": f"{row.method}: {'; '.join(sources) or 'no source described'}",
            "version": str(figures.provenance.software.get("carbon-trainer", "")),
            "powerConsumption": kwh_from_mj(row.energy_mj),
            "measurementDuration": figures.active_time.value or 0.0,
        }
        if row.name in ("gpu", "cpu"):
            measure[f"{row.name}TrackingMode"] = row.method
        if figures.started_ns is not None:
            measure["measurementDateTime"] = _date(figures.started_ns)
        measures.append(measure)
    return measures


def _machine(figures: RunFigures) -> dict[str, Any]:
    machine: dict[str, Any] = {}
    if figures.provenance.machines:
        machine["system"] = {"os": figures.provenance.machines[-1].os}
    machine["software"] = {
        "language": "python",
        "version": str(figures.provenance.software.get("python", "")),
    }
    return machine


def _infrastructure(figures: RunFigures) -> dict[str, Any]:
    kind = _PLACES.get(figures.boundary.operation, "other") if figures.boundary else "other"
    infrastructure: dict[str, Any] = {"infraType": kind}
    if figures.boundary and figures.boundary.operation == "cloud" and figures.boundary.provider:
        infrastructure["cloudProvider"] = figures.boundary.provider
    boards: dict[str, set[str]] = {}
    for source in figures.provenance.sources:
        if source.component == "gpu":
            boards.setdefault(source.label or source.device, set()).add(source.device)
    components: list[dict[str, Any]] = [
        {"componentName": label, "componentType": "gpu", "nbComponent": len(devices), "share": 1}
        for label, devices in boards.items()
    ]
    hosts = {machine.host: machine for machine in figures.provenance.machines}
    for machine in hosts.values():
        memory_gb = machine.memory_bytes / 1e9
        components += [
            {"componentName": machine.cpu, "componentType": "cpu", "nbComponent": 1},
            {"componentType": "ram", "nbComponent": 1, "memorySize": memory_gb},
        ]
    infrastructure["components"] = components or [
        {"componentName": "not recorded", "componentType": "other", "nbComponent": 0}
    ]
    return infrastructure


def _environment(figures: RunFigures) -> dict[str, Any]:
    fact = figures.factors[-1].fact
    environment: dict[str, Any] = {"country": fact.zone_name, "location": fact.zone}
    if figures.facility_energy.value and figures.emissions.value is not None:
        environment["powerSourceCarbonIntensity"] = (
            1000 * figures.emissions.value / figures.facility_energy.value
        )
    return environment


def _own_figures(figures: RunFigures) -> dict[str, Any]:
    energy = figures.energy
    return {
        "runId": figures.run_id,
        "energy": {"kWh": energy.value, "oneSigma": energy.sigma, "method": energy.method},
        "facilityEnergy": {"kWh": figures.facility_energy.value},
        "emissionsLocationBased": {
            "kgCO2e": figures.emissions.value, "oneSigma": figures.emissions.sigma,
        },
        "emissionsMarketBased": {"kgCO2e": figures.emissions_market.value},
        "embodied": {"kgCO2eLeast": figures.embodied.low, "kgCO2eMost": figures.embodied.high},
        "ledger": {"record": figures.head.seq, "sha256": figures.head.sha256},
    }  # fmt: skip


def _date(time_ns: int) -> str:
    return time_text(time_ns).removesuffix(" UTC")
