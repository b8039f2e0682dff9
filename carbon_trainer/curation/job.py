"""A preparation as a run: metered, under a budget, interruptible, with a report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from carbon_trainer.clock import SystemClock
from carbon_trainer.control.budget import Budget
from carbon_trainer.curation.cleaning import Cleaner, Steps
from carbon_trainer.curation.config import PrepareConfig, SourceSettings
from carbon_trainer.curation.datasheet import datasheet, datasheet_markdown
from carbon_trainer.curation.files import write_text
from carbon_trainer.curation.limit import HardLimit, OverLimitError
from carbon_trainer.curation.prepare import data_sha256, made_from, prepare
from carbon_trainer.curation.sources import Source, check_sources, find_sources
from carbon_trainer.curation.state import Position, State
from carbon_trainer.data.curated import DATASHEET, WORK, dataset_at
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import DatasetPrepared
from carbon_trainer.reports.figures.run_figures import run_figures
from carbon_trainer.runs.lifetime import RunStopped, interruption, run_recorded
from carbon_trainer.runs.outcome import Outcome, ResumePoint, new_run_id
from carbon_trainer.runs.session import RunSession
from carbon_trainer.runs.signals import Interrupts

PHASE = "data preparation"

LOOK_S = 0.2
"""How often signals and the budget are looked at, seconds."""

CLOSING_S = 2.0
"""What is kept of a budget for closing down, in seconds of the present power."""

FINISHED = Outcome("finished", 0, "all documents are dealt with")

Progress = Callable[[Position], None]
Session: TypeAlias = RunSession[PrepareConfig]


@dataclass(frozen=True)
class Prepared:
    """How a preparation ended.

    Attributes:
        outcome: how its last segment ended.
        session: the closed session; None where all had been done before.
        sheet: the datasheet; None if it is not finished.
    """

    outcome: Outcome
    session: Session | None
    sheet: dict[str, Any] | None


def prepare_data(
    config: PrepareConfig, *, say: Callable[[str], None], show: Progress, interrupts: Interrupts
) -> Prepared:
    """Prepare a dataset, or go on with it; meter it; keep its budget; write its datasheet.

    Args:
        config: the settings, with ``to``.
        say: takes sentences for people.
        show: takes the progress, a few times a second.
        interrupts: where signals are noted.

    Raises:
        InputError: if something that the user gave cannot be used; what was done is kept.
    """
    to = config.to
    if to is None:
        raise InputError("say where the dataset is to be written, with --to FOLDER.")
    settings = check_sources(config)
    steps = Steps.of(config)
    if _holds_dataset(to):
        key = made_from(config, find_sources(settings, config.text_field, say))
        return _done_before(to, key)
    state = State(to / WORK)
    try:
        position = state.position() or Position("", new_run_id(SystemClock()))
        work = _Work(config, to, settings, steps, state, position, say, show, interrupts)
        return _run(work)
    finally:
        state.close()
        if (to / DATASHEET).exists():
            _clear(to)


@dataclass(frozen=True)
class _Work:
    """What a preparation works with."""

    config: PrepareConfig
    to: Path
    settings: list[SourceSettings]
    steps: Steps
    state: State
    position: Position
    say: Callable[[str], None]
    show: Progress
    interrupts: Interrupts


def _holds_dataset(to: Path) -> bool:
    """Whether a folder holds a finished dataset.

    Raises:
        InputError: if it holds anything else than that or an unfinished one.
    """
    try:
        entries = sorted(path.name for path in to.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"cannot write in --to {to}: {error.strerror}.") from error
    if DATASHEET not in entries and entries and WORK not in entries:
        raise InputError(f"--to {to} is not empty (it holds {entries[0]}): choose another folder.")
    return DATASHEET in entries


def _done_before(to: Path, key: str) -> Prepared:
    dataset = dataset_at(to)
    if dataset is None or dataset.sheet.get("made_from") != key:
        raise InputError(f"--to {to} holds another dataset: choose another folder.")
    _clear(to)  # a kill may have come between the datasheet and this
    outcome = Outcome("finished", 0, f"{to} holds this dataset already")
    return Prepared(outcome, None, dataset.sheet)


def _clear(to: Path) -> None:
    """Remove what was kept to go on with: the dataset is whole, with it or without."""
    shutil.rmtree(to / WORK, ignore_errors=True)


def _run(work: _Work) -> Prepared:
    session, cleaned = run_recorded(
        partial(_open, work), partial(_prepare_and_keep, work), work.interrupts, finished=FINISHED
    )
    if cleaned is None:
        return Prepared(session.outcome or FINISHED, session, None)
    return _finish(work, *cleaned, session)


def _prepare_and_keep(work: _Work, session: Session) -> tuple[list[Source], Cleaner]:
    """Prepare; where it is stopped in order, keep all that was done until then."""
    work.say(f"run {session.run_id} in {session.run_dir}")
    try:
        with session.phase(PHASE):
            return _prepare(work, session)
    except RunStopped:
        work.state.commit(work.position)
        raise
    except OverLimitError:
        # It may come anywhere: what was done since the last commit is done again.
        raise RunStopped(_budget_used_up(session)) from None


def _prepare(work: _Work, session: Session) -> tuple[list[Source], Cleaner]:
    """Read the sources, and write all files of data.

    Raises:
        InputError: if a source cannot be read, or others were read when the work was begun.
    """
    config, position = work.config, work.position
    check = _checks(work, session)
    limit = HardLimit(lambda: _is_over(session, LOOK_S + CLOSING_S), LOOK_S)
    with work.interrupts.holding(), limit:
        sources = find_sources(work.settings, config.text_field, work.say, check)
        key = made_from(config, sources)
        if position.made_from not in ("", key):
            raise InputError(
                f"{work.to} holds an unfinished preparation of other sources, settings or versions "
                "of libraries: give the same ones to go on, or another --to."
            )
        position.made_from = key
        cleaner = Cleaner(config, work.steps, work.state, position)
        prepare(config, sources, cleaner, work.state, position, check)
    session.record(_fact(work))
    return sources, cleaner


def _open(work: _Work) -> Session:
    """Open the run, or its next segment; from here on the state knows which run it is."""
    position = work.position
    goes_on = work.state.position() is not None
    resume = ResumePoint(position.run_id, None, 0, position.energy_mj) if goes_on else None
    session = RunSession.open(work.config, resume=resume, run_id=position.run_id)
    work.state.commit(position)
    return session


def _checks(work: _Work, session: Session) -> Callable[[], None]:
    """Return what looks at signals and the budget, a few times a second."""
    looked_s = 0.0
    called_s, longest_s = time.monotonic(), LOOK_S
    position = work.position

    def check() -> None:
        nonlocal looked_s, called_s, longest_s
        now_s = time.monotonic()
        # The next document may take as long as the longest so far.
        longest_s, called_s = max(longest_s, now_s - called_s), now_s
        if now_s - looked_s < LOOK_S:
            return
        looked_s = now_s
        position.energy_mj = session.used_mj()
        work.show(position)
        if work.interrupts.received is not None:
            raise RunStopped(interruption(work.interrupts.received))
        if _is_over(session, LOOK_S + longest_s + CLOSING_S):
            raise RunStopped(_budget_used_up(session))

    return check


def _is_over(session: Session, reserve_s: float) -> bool:
    """Say whether no budget is left but for some seconds at the present power."""
    budget = Budget.tightest(session.config, session.factor, session.accrued)
    reserve_mj = session.power_w() * 1000 * reserve_s
    return budget is not None and session.used_mj(upper=True) + reserve_mj >= budget.limit_mj


def _budget_used_up(session: Session) -> Outcome:
    budget = Budget.tightest(session.config, session.factor, session.accrued)
    return Outcome("budget", 3, f"the budget of {budget.text if budget else ''} is used up")


def _fact(work: _Work) -> DatasetPrepared:
    to, position = work.to.resolve(), work.position
    return DatasetPrepared(
        name=work.config.name or to.name,
        folder=str(to),
        data_sha256=data_sha256(position.shards),
        documents_read=position.read,
        documents=position.documents,
        characters=position.characters,
        removed=position.all_removed(),
    )


def _finish(work: _Work, sources: list[Source], cleaner: Cleaner, session: Session) -> Prepared:
    """Write the datasheet with the closed run's figures; the one for programs comes last."""
    figures = run_figures(session.ledger, session.run_id)
    sheet = datasheet(work.config, sources, work.steps, cleaner, work.position, figures, work.to)
    write_text(work.to / "datasheet.md", datasheet_markdown(sheet))
    write_text(work.to / DATASHEET, json.dumps(sheet, indent=1, ensure_ascii=False) + "\n")
    return Prepared(session.outcome or FINISHED, session, sheet)
