"""What a run was made with: corpus, model, machines, sources of energy figures, settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carbon_trainer.ledger.facts import (
    CheckpointSaved,
    CorpusDescribed,
    DatasetPrepared,
    MachineDescribed,
    ModelDescribed,
    Resumed,
    RunOpened,
)
from carbon_trainer.reports.record.run_record import RunRecord

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")


@dataclass(frozen=True, slots=True)
class SourceUse:
    """Where a device's energy figures come from, as a machine description says."""

    component: str
    device: str
    label: str
    name: str
    method: str
    uncertainty: float
    refresh_s: float | None
    note: str

    @property
    def text(self) -> str:
        """Write it for people."""
        return f"{self.name}, {self.label or self.device}, ± {100 * self.uncertainty:.3g} %"


@dataclass(frozen=True)
class Provenance:
    """What a run was made with; None or empty where the ledger does not say.

    Attributes:
        dataset: what the run has prepared, if that was what it did.
        machines: a description each time that it changed.
        sources: all sources of energy figures that these name.
        config: the settings that held last, without passwords.
    """

    corpus: CorpusDescribed | None
    dataset: DatasetPrepared | None
    model: ModelDescribed | None
    machines: tuple[MachineDescribed, ...]
    sources: tuple[SourceUse, ...]
    checkpoints: tuple[CheckpointSaved, ...]
    software: dict[str, Any]
    config: dict[str, Any]

    def source_texts(self, component: str) -> list[str]:
        """Write the sources of a component for people."""
        return [source.text for source in self.sources if source.component == component]


def provenance_of(record: RunRecord) -> Provenance:
    """Collect what a run's records say about what it was made with."""
    opened = record.last(RunOpened)
    machines = tuple(item.fact for item in record.facts_of(MachineDescribed))
    return Provenance(
        corpus=record.last(CorpusDescribed),
        dataset=record.last(DatasetPrepared),
        model=record.last(ModelDescribed),
        machines=machines,
        sources=_sources(machines),
        checkpoints=tuple(item.fact for item in record.facts_of(CheckpointSaved)),
        software=dict(sorted(opened.software.items())) if opened else {},
        config=_config(record),
    )


def _sources(machines: Sequence[MachineDescribed]) -> tuple[SourceUse, ...]:
    """All sources that any machine description names; of equal ones the last counts."""
    sources: dict[tuple[str, ...], SourceUse] = {}
    for machine in machines:
        for source in machine.sources:
            use = SourceUse(
                component=str(source["component"]),
                device=str(source["device"]),
                label=str(source.get("label", "")),
                name=str(source.get("name", "")),
                method=str(source.get("method", "unknown")),
                uncertainty=float(source["uncertainty"]),
                refresh_s=source.get("refresh_s"),
                note=str(source.get("note", "")),
            )
            sources[use.component, use.device, use.label, use.name, use.method] = use
    return tuple(sources.values())


def _config(record: RunRecord) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for item in record.starts:
        if isinstance(item.fact, RunOpened | Resumed) and item.fact.config:
            config = item.fact.config
    return {key: without_credentials(value) for key, value in sorted(config.items())}


def without_credentials(value: Any) -> Any:
    """Mask user and password of any URL in a JSON value, e.g. that of a database ledger."""
    if isinstance(value, str):
        return _CREDENTIALS.sub("***", value)
    if isinstance(value, list):
        return [without_credentials(item) for item in value]
    if isinstance(value, dict):
        return {key: without_credentials(item) for key, item in value.items()}
    return value
