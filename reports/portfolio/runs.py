"""What a ledger records of each of its runs, without reading their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    BoundaryStated,
    Corrected,
    Fact,
    Incomplete,
    InstrumentHeld,
    IntensityUsed,
    MachineDescribed,
    ModelDescribed,
    Progress,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.state import RECOVERED
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.reports.figures.tallies import source_uncertainties
from carbon_trainer.reports.record.run_record import Record, apply_corrections
from carbon_trainer.reports.record.segments import KILLED, OPEN

_KINDS = (
    RunOpened, Resumed, RunClosed, IntensityUsed, MachineDescribed, ModelDescribed, Incomplete,
    Corrected, BoundaryStated, InstrumentHeld,
)  # fmt: skip

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run without its energy.

    Attributes:
        status: how it ended; ``open`` or ``killed`` where nothing closed it.
        purpose: ``final``, ``development``, ``evaluation`` or ``not stated``.
        factors: emission factors by their records' numbers, in order.
        uncertainties: relative gain error by (record of the machine, component, device).
        lost_mj: energy of steps that were repeated.
        gaps: statements that the record lacks something.
        corrections: how many records were corrected.
    """

    run_id: str
    head: ChainHead
    name: str
    project: str
    user: str
    purpose: str
    status: str
    started_ns: int
    ended_ns: int
    steps: int | None
    tokens: int | None
    parameters: int | None
    factors: dict[int, IntensityUsed]
    machines: tuple[int, ...]
    uncertainties: dict[tuple[int, str, str], float]
    accelerators: tuple[tuple[str, str], ...]
    boundary: BoundaryStated | None
    instruments: tuple[tuple[int, InstrumentHeld], ...]
    lost_mj: int
    gaps: int
    corrections: int
    zones: tuple[str, ...] = field(default=())


def runs_of(ledger: Ledger) -> list[RunFacts]:
    """Read all runs of a ledger, oldest first.

    Raises:
        LedgerError: if a record is from a newer version.
    """
    heads, killed = ledger.heads(), ledger.decided(RECOVERED)
    runs = [
        _run(ledger, run_id, heads[run_id], killed.get(run_id, 0), facts)
        for run_id, facts in _by_run(ledger)
    ]
    return sorted(runs, key=lambda run: (run.started_ns, run.run_id))


def _by_run(ledger: Ledger) -> Iterator[tuple[str, tuple[Record[Fact], ...]]]:
    for run_id, rows in groupby(ledger.facts_of_all(*_KINDS), key=itemgetter(0)):
        facts = [Record(stored.seq, stored.time_ns, stored.fact()) for _, stored in rows]
        yield run_id, tuple(facts)


def _run(
    ledger: Ledger, run_id: str, head: ChainHead, killed_seq: int, raw: tuple[Record[Fact], ...]
) -> RunFacts:
    facts, corrections = apply_corrections(raw)
    by_kind: dict[type[Fact], list[Record[Any]]] = {}
    for item in facts:
        by_kind.setdefault(type(item.fact), []).append(item)
    opened = by_kind.get(RunOpened, [None])[0]
    starts = sorted(
        [*by_kind.get(RunOpened, []), *by_kind.get(Resumed, [])], key=lambda item: item.seq
    )
    closed = by_kind.get(RunClosed, [None])[-1]
    status = _status(starts, closed, killed_seq)
    progress: RunClosed | Progress | None = None
    ended_ns = max(item.time_ns for item in starts or facts)
    started_seq = starts[-1].seq if starts else 0
    if closed is not None and status not in (OPEN, KILLED):
        progress = closed.fact
    if closed is not None and progress is not None and killed_seq <= started_seq:
        ended_ns = closed.time_ns
    else:
        # One that was killed ended then, also where a later start has closed its record.
        last = ledger.last(run_id, Progress)
        fact = None if last is None else last.fact()
        progress = progress or (fact if isinstance(fact, Progress) else None)
        ended_ns = max(ended_ns, last.time_ns) if last is not None else ended_ns
    config = opened.fact.config if opened else {}
    model = by_kind[ModelDescribed][-1].fact if ModelDescribed in by_kind else None
    factors = {item.seq: item.fact for item in by_kind.get(IntensityUsed, [])}
    machines = by_kind.get(MachineDescribed, [])
    return RunFacts(
        run_id=run_id,
        head=head,
        name=opened.fact.name if opened else "",
        project=(opened.fact.project if opened else "") or NOT_STATED,
        user=(opened.fact.user if opened else "") or NOT_STATED,
        purpose=str(config.get("purpose") or NOT_STATED),
        status=status,
        started_ns=facts[0].time_ns if opened is None else opened.time_ns,
        ended_ns=ended_ns,
        steps=None if progress is None else progress.step,
        tokens=None if progress is None else progress.tokens,
        parameters=None if model is None else model.parameters,
        factors=factors,
        machines=tuple(item.seq for item in machines),
        uncertainties={
            (item.seq, *device): share
            for item in machines
            for device, share in source_uncertainties(item.fact).items()
        },
        accelerators=_accelerators(machines),
        boundary=by_kind[BoundaryStated][-1].fact if BoundaryStated in by_kind else None,
        instruments=tuple((item.seq, item.fact) for item in by_kind.get(InstrumentHeld, [])),
        lost_mj=sum(item.fact.lost_mj for item in by_kind.get(Resumed, [])),
        gaps=len(by_kind.get(Incomplete, [])),
        corrections=len(corrections),
        zones=tuple(dict.fromkeys(fact.zone for fact in factors.values())),
    )


def _status(starts: list[Record[Any]], closed: Record[Any] | None, killed_seq: int) -> str:
    started_seq = starts[-1].seq if starts else 0
    if closed is not None and closed.seq > max(started_seq, killed_seq):
        return str(closed.fact.status)
    return KILLED if killed_seq > started_seq else OPEN


def _accelerators(machines: list[Record[Any]]) -> tuple[tuple[str, str], ...]:
    """Pairs of device and label."""
    labels = {
        str(source["device"]): str(source.get("label", ""))
        for item in machines
        for source in item.fact.sources
        if source["component"] == "gpu"
    }
    return tuple(labels.items())
