"""The facts that a run writes down, each a frozen record with units in its names.

A fact is appended and never changed. Field values are JSON's own types, so that a fact's
canonical text, and with it its hash, is the same on every machine.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

JsonDict = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Base of all facts; ``kind`` names it in the ledger."""

    kind: ClassVar[str]
    only_if_known: ClassVar[tuple[str, ...]] = ()
    """Fields that are not written where they are None: facts without them keep the hash that they
    had before the field existed."""

    def body(self) -> JsonDict:
        """Return the fact's fields as JSON types."""
        # Most values are numbers and texts: dataclasses.asdict would copy each of them.
        return {
            name: copy.deepcopy(value) if isinstance(value, dict | list) else value
            for name, value in vars(self).items()
            if value is not None or name not in self.only_if_known
        }


@dataclass(frozen=True, kw_only=True)
class RunOpened(Fact):
    """A run was started: what it is called, what it was asked to do, with which software."""

    kind: ClassVar[str] = "run_opened"
    name: str
    project: str
    config: JsonDict
    software: JsonDict
    entry: str = "cli"
    """Who opened it: ``cli`` (carbon-train fit) or ``callback`` (a user's own script)."""
    user: str = ""
    """The user it is attributed to; empty where the record does not say."""


@dataclass(frozen=True, kw_only=True)
class MachineDescribed(Fact):
    """The machine a segment of the run works on, and where its energy figures come from."""

    kind: ClassVar[str] = "machine_described"
    host: str
    os: str
    cpu: str
    cpu_cores: int
    memory_bytes: int
    sources: list[JsonDict]
    """One per source: name, component, device, label, method, refresh_s, uncertainty, note."""


@dataclass(frozen=True, kw_only=True)
class CorpusDescribed(Fact):
    """The text that was trained on."""

    kind: ClassVar[str] = "corpus_described"
    only_if_known: ClassVar[tuple[str, ...]] = ("prepared", "rows", "cut_rows", "angles")
    origin: str
    """Where it came from, for people: ``Python 3.11 standard library`` or the paths given."""
    licence: str | None
    files: int
    bytes: int
    sha256: str
    """SHA-256 over the sorted lines ``sha256  bytes  name`` of the manifest file."""
    manifest: str
    """Path of that list, relative to the ledger's folder or absolute."""
    tokenizer: str
    vocab_size: int
    train_tokens: int
    validation_tokens: int
    block_size: int
    prepared: list[JsonDict] | None = None
    """One per prepared dataset in it: name, datasheet_sha256, data_sha256, run_id, documents,
    documents_read, removed (count by reason), energy_kwh, sigma_kwh, method; None without any."""
    rows: int | None = None
    """Where it is pairs of a source and a target: how many, each from a row; else None."""
    cut_rows: int | None = None
    """Of those, the ones that were longer than a block and were cut."""
    angles: str | None = None
    """Slots that are given and wanted: ``QM->A, Q->A``."""


@dataclass(frozen=True, kw_only=True)
class DatasetPrepared(Fact):
    """A dataset was prepared by this run: what is in it, what was left out and why."""

    kind: ClassVar[str] = "dataset_prepared"
    name: str
    folder: str
    data_sha256: str
    """SHA-256 over the lines ``sha256  bytes  name`` of its shards, sorted."""
    documents_read: int
    documents: int
    characters: int
    removed: JsonDict
    """Count of documents by reason."""


@dataclass(frozen=True, kw_only=True)
class ModelDescribed(Fact):
    """The model that was trained."""

    kind: ClassVar[str] = "model_described"
    only_if_known: ClassVar[tuple[str, ...]] = ("trained_parameters", "parameters_per_token")
    name: str
    architecture: str
    parameters: int
    pretrained: bool
    precision: str
    total_steps: int | None
    """Optimizer steps planned; None where the run has no fixed end."""
    tokens_per_step: int | None
    trained_parameters: int | None = None
    """Those that the optimizer changes; None where it changes all."""
    parameters_per_token: int | None = None
    """Those that a token goes through on average; None where it goes through all. In an
    encoder-decoder a source's tokens go through the encoder, a target's through the decoder."""


@dataclass(frozen=True, kw_only=True)
class EstimateMade(Fact):
    """What the run was estimated to take before it began to train, without knowing the run."""

    kind: ClassVar[str] = "estimate_made"
    accelerator: str
    accelerators: int
    parameters: int
    tokens: int
    """Planned; the figures are for all of them."""
    hours: float
    """Of all accelerators working side by side; then the ends of its interval."""
    hours_low: float
    hours_high: float
    energy_kwh: float
    """What the building draws; then the ends of its interval."""
    energy_low_kwh: float
    energy_high_kwh: float
    interval: float
    """The share of truths that intervals are made to cover."""
    pue: float
    basis: str
    """How it was made, a sentence."""


@dataclass(frozen=True, kw_only=True)
class IntensityUsed(Fact):
    """The emission factor and overhead that emissions are computed with from here on."""

    kind: ClassVar[str] = "intensity_used"
    zone: str
    zone_name: str
    intensity_gco2e_per_kwh: float
    method: str
    accounting: str
    """``average lifecycle``, ``average direct``, ``marginal direct`` …"""
    source: str
    vintage: str
    licence: str
    uncertainty: float
    """Relative one-sigma error."""
    uncertainty_basis: str
    pue: float
    pue_method: str
    price_per_kwh: float | None = None
    currency: str = "EUR"


@dataclass(frozen=True, kw_only=True)
class Interval(Fact):
    """What one device used between two instants.

    ``steps`` and ``tokens`` are those finished within the interval; they stand on every
    device's interval alike, so totals are taken from Progress or RunClosed, not summed here.
    """

    kind: ClassVar[str] = "interval"
    device: str
    component: str
    start_ns: int
    end_ns: int
    energy_mj: int
    method: str
    sigma_mj: int
    """One sigma of the timing error, millijoules; the sensor's gain error is the source's."""
    phase: str
    """``prepare``, ``train``, ``validation``, ``checkpoint``, ``idle`` …"""
    steps: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Progress(Fact):
    """How far training had come at an instant; counts are cumulative over all segments."""

    kind: ClassVar[str] = "progress"
    time_ns: int
    step: int
    tokens: int
    loss: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class CommunicationSampled(Fact):
    """How long a step took on rank 0, and how much of that ranks were communicating."""

    kind: ClassVar[str] = "communication_sampled"
    step: int
    ranks: int
    backend: str
    """``nccl``, ``gloo`` …"""
    step_ns: int
    communication_ns: int
    exposed_ns: int
    """The part of ``communication_ns`` during which no work of the step was done."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Fact):
    """A checkpoint from which the run can resume."""

    kind: ClassVar[str] = "checkpoint_saved"
    path: str
    step: int
    bytes: int
    seconds: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Decision(Fact):
    """Something was decided for the run, with the reason and the figures behind it."""

    kind: ClassVar[str] = "decision"
    decision: str
    why: str
    figures: JsonDict = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LevelsMeasured(Fact):
    """What each power setting draws and does, as the schedule is made from it."""

    kind: ClassVar[str] = "levels_measured"
    means: str
    """``power-limit``, ``clocks``, ``duty-cycle`` or ``none``."""
    levels: list[JsonDict]
    """One per setting, the full one first: share, power_w, steps_per_s, steps, seconds."""
    idle_w: float
    measured_at_ns: int
    """When: earlier than the run where a run before has measured them."""


@dataclass(frozen=True, kw_only=True)
class Incomplete(Fact):
    """The record has a gap from here on: what is missing and why."""

    kind: ClassVar[str] = "incomplete"
    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Interruption(Fact):
    """A signal or an exception ended a segment."""

    kind: ClassVar[str] = "interruption"
    cause: str
    step: int


@dataclass(frozen=True, kw_only=True)
class Resumed(Fact):
    """A new segment continues from a checkpoint."""

    kind: ClassVar[str] = "resumed"
    checkpoint: str
    """What it continues from; empty where it starts again from step 0."""
    step: int
    config: JsonDict
    energy_before_mj: int
    """Energy that the run had used before this segment, all devices, before PUE."""
    lost_mj: int = 0
    """Of that, what was used since the checkpoint for steps that are repeated."""


@dataclass(frozen=True, kw_only=True)
class RunClosed(Fact):
    """A segment has ended."""

    kind: ClassVar[str] = "run_closed"
    status: str
    """``finished``, ``budget``, ``interrupted``, ``released`` or ``failed``."""
    exit_status: int
    reason: str
    step: int
    tokens: int
    checkpoint: str | None


@dataclass(frozen=True, kw_only=True)
class Amendment(Fact):
    """Base of statements about a run after it has ended; they are no part of the run's time."""

    by: str
    """Who states it."""


@dataclass(frozen=True, kw_only=True)
class Corrected(Amendment):
    """An earlier record was wrong: what it should say. The wrong one stays where it is."""

    kind: ClassVar[str] = "corrected"
    of_seq: int
    """The number of the record that is corrected."""
    changes: JsonDict
    """Its fields that were wrong, with what is right."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class BoundaryStated(Amendment):
    """Whose machines the run was on, which decides the scope that its emissions fall in."""

    kind: ClassVar[str] = "boundary_stated"
    operation: str
    """``own`` (scope 2), ``cloud`` (bought: scope 3 category 1) or ``colocation`` (leased:
    scope 3 category 8)."""
    organisation: str = ""
    provider: str = ""
    """Of the cloud or the colocation."""
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class InstrumentHeld(Amendment):
    """A contractual instrument for a part of the run's electricity, with its evidence."""

    kind: ClassVar[str] = "instrument_held"
    instrument: str
    """``guarantee of origin``, ``REC``, ``PPA``, ``supplier contract`` or ``residual mix``."""
    registry: str
    serial: str
    """Its number in the registry; the table's edition for a residual mix."""
    vintage: str
    market: str
    rate_gco2e_per_kwh: float
    energy_kwh: float | None
    """Most of the run's facility energy that it covers; None for a residual mix: all the rest."""
    source: str = ""
    """``wind``, ``solar``, ``hydro``, ``nuclear`` …; empty where it does not say."""


FACT_KINDS: dict[str, type[Fact]] = {
    fact.kind: fact
    for fact in (
        RunOpened, MachineDescribed, CorpusDescribed, DatasetPrepared, ModelDescribed,
        IntensityUsed, Interval, Progress, CheckpointSaved, Decision, LevelsMeasured, Incomplete,
        Interruption, Resumed, RunClosed, Corrected, BoundaryStated, InstrumentHeld,
        EstimateMade, CommunicationSampled,
    )
}  # fmt: skip
"""Every kind of fact by its name in the ledger."""
