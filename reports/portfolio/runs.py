"""What a ledger knows of each of its runs, without reading their intervals."""

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
from carbon_trainer.reports.record.run_record import Stamped, corrected
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
        lost_mj: energy of work that was done again.
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
    found = [
        _run(ledger, run_id, heads[run_id], killed.get(run_id, 0), facts)
        for run_id, facts in _by_run(ledger)
    ]
    return sorted(found, key=lambda run: (run.started_ns, run.run_id))


def _by_run(ledger: Ledger) -> Iterator[tuple[str, tuple[Stamped[Fact], ...]]]:
    for run_id, rows in groupby(ledger.facts_of_all(*_KINDS), key=itemgetter(0)):
        facts = [Stamped(stored.seq, stored.time_ns, stored.fact()) for _, stored in rows]
        yield run_id, tuple(facts)


def _run(
    ledger: Ledger, run_id: str, head: ChainHead, killed_seq: int, raw: tuple[Stamped[Fact], ...]
) -> RunFacts:
    facts, corrections = corrected(raw)
    of: dict[type[Fact], list[Stamped[Any]]] = {}
    for item in facts:
        of.setdefault(type(item.fact), []).append(item)
    opened = of.get(RunOpened, [None])[0]
    starts = sorted([*of.get(RunOpened, []), *of.get(Resumed, [])], key=lambda item: item.seq)
    closed = of.get(RunClosed, [None])[-1]
    status = _status(starts, closed, killed_seq)
    done: RunClosed | Progress | None = None
    ended_ns = max(item.time_ns for item in starts or facts)
    started_seq = starts[-1].seq if starts else 0
    if closed is not None and status not in (OPEN, KILLED):
        done = closed.fact
    if closed is not None and done is not None and killed_seq <= started_seq:
        ended_ns = closed.time_ns
    else:
        # One that was killed ended then, also where a later start has closed its record.
        last = ledger.last(run_id, Progress)
        progress = None if last is None else last.fact()
        done = done or (progress if isinstance(progress, Progress) else None)
        ended_ns = max(ended_ns, last.time_ns) if last is not None else ended_ns
    config = opened.fact.config if opened else {}
    model = of[ModelDescribed][-1].fact if ModelDescribed in of else None
    factors = {item.seq: item.fact for item in of.get(IntensityUsed, [])}
    machines = of.get(MachineDescribed, [])
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
        steps=None if done is None else done.step,
        tokens=None if done is None else done.tokens,
        parameters=None if model is None else model.parameters,
        factors=factors,
        machines=tuple(item.seq for item in machines),
        uncertainties={
            (item.seq, *at): share
            for item in machines
            for at, share in source_uncertainties(item.fact).items()
        },
        accelerators=_accelerators(machines),
        boundary=of[BoundaryStated][-1].fact if BoundaryStated in of else None,
        instruments=tuple((item.seq, item.fact) for item in of.get(InstrumentHeld, [])),
        lost_mj=sum(item.fact.lost_mj for item in of.get(Resumed, [])),
        gaps=len(of.get(Incomplete, [])),
        corrections=len(corrections),
        zones=tuple(dict.fromkeys(fact.zone for fact in factors.values())),
    )


def _status(starts: list[Stamped[Any]], closed: Stamped[Any] | None, killed_seq: int) -> str:
    started_seq = starts[-1].seq if starts else 0
    if closed is not None and closed.seq > max(started_seq, killed_seq):
        return str(closed.fact.status)
    return KILLED if killed_seq > started_seq else OPEN


def _accelerators(machines: list[Stamped[Any]]) -> tuple[tuple[str, str], ...]:
    """Pairs of device and label."""
    found = {
        str(source["device"]): str(source.get("label", ""))
        for item in machines
        for source in item.fact.sources
        if source["component"] == "gpu"
    }
    return tuple(found.items())
