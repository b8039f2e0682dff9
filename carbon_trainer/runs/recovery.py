"""Record what runs had used that were killed before they could write it down.

A run leaves a heartbeat each second. A start that finds one whose process is gone books what the
meter knew by then and, from the device's own counter, what it used until the process died. How
soon after its last heartbeat it died is not known, so no more is recorded for that than the highest
power of two heartbeats: a card may since have worked for others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from carbon_trainer.clock import NS_PER_S, Clock
from carbon_trainer.energy.heartbeat import FILE_NAME, DeviceSnapshot, Heartbeat, read_heartbeat
from carbon_trainer.energy.sources.base import Method, SourceLostError
from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.files import remove_unfinished
from carbon_trainer.hardware import machine
from carbon_trainer.hardware.process import ProcessIdentity, boot_id, pid_space
from carbon_trainer.ledger.engine import driver_message
from carbon_trainer.ledger.facts import Decision, Fact, Incomplete, Interval
from carbon_trainer.ledger.recover import recover
from carbon_trainer.ledger.state import RECOVERED
from carbon_trainer.ledger.store import Ledger

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
TAIL_S = 2.5
"""A process that lives writes a heartbeat each second; two may be late by half of one."""

STALE_S = 15.0

NEVER_READ = "start of a killed segment"
"""What is missing where a process was killed in its first moments."""

COUNTERS_WITHIN_S = 5.0
"""How long a start waits for counters, seconds; a driver that hangs leaves an estimate."""

_CLAIMED = ".claimed-"

Counters = dict[str, int]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was recorded for one run.

    Attributes:
        run_id: the run.
        energy_mj: millijoules, all devices.
    """

    run_id: str
    energy_mj: int


def recover_killed(
    runs_dir: Path,
    ledger: Ledger,
    clock: Clock,
    read_counters: Callable[[], Counters] | None = None,
) -> list[Recovered]:
    """Record what this machine's killed runs in a folder had used; each once.

    Args:
        runs_dir: where runs have their folders.
        ledger: where their records are.
        clock: the time.
        read_counters: tells GPUs' counters by device, millijoules; through NVML by default.

    Returns:
        What was recorded; none where no run was killed.
    """
    recovered = []
    counters: Counters | None = None
    for path, beat in list(_orphans(runs_dir, clock.now_ns())):
        if ledger.head(beat.run_id).seq == 0:
            # It is in another ledger: a start with that one finds it.
            continue
        claimed = path.with_name(f"{FILE_NAME}{_CLAIMED}{ProcessIdentity.current()}")
        try:
            path.rename(claimed)
        except FileNotFoundError:
            # Another start was first.
            continue
        if counters is None:
            counters = _within(read_counters or _nvml_counters, COUNTERS_WITHIN_S)
        take_unwritten(ledger, path.parent, beat.run_id)
        facts = _facts(beat, ledger, counters, clock.now_ns())
        if facts:
            now_ns = clock.now_ns()
            stamped = [(now_ns, fact) for fact in facts]
            ledger.append(beat.run_id, stamped, ledger.head(beat.run_id))
        claimed.rename(path.with_name("meter.recovered.json"))
        _remove_unfinished_heartbeats(path.parent)
        energy_mj = sum(fact.energy_mj for fact in facts if isinstance(fact, Interval))
        recovered.append(Recovered(beat.run_id, energy_mj))
    return recovered


def recover_killed_or_warn(runs_dir: Path, ledger: Ledger, clock: Clock) -> None:
    """Recover the energy of killed runs, and log what was recovered.

    A failure is logged only: most often it is another run's folder or record that is at fault, and
    the run that starts must not fail because of that.
    """
    try:
        for run in recover_killed(runs_dir, ledger, clock):
            log.warning("recovered %.0f J from the killed run %s.", run.energy_mj / 1e3, run.run_id)
    except Exception as error:
        reason = driver_message(error) if isinstance(error, DBAPIError) else str(error)
        log.warning("the energy of killed runs could not be recovered: %s", reason)
        log.debug("recovery", exc_info=True)


def _remove_unfinished_heartbeats(run_dir: Path) -> None:
    """Remove what a process left that was killed while it wrote its heartbeat."""
    try:
        remove_unfinished(run_dir, FILE_NAME)
    except OSError as error:
        log.debug("a temporary file stays in %s: %s", run_dir, error)


def take_unwritten(ledger: Ledger, run_dir: Path, run_id: str) -> None:
    """Put into the ledger what it could not take while its disk was full; tried again later."""
    path = run_dir / f"unwritten-{run_id}.jsonl"
    if not path.exists():
        return
    try:
        _, count = recover(ledger, path)
        log.warning("%s: %d records are in the ledger that its disk had refused.", run_id, count)
    except (CarbonTrainerError, SQLAlchemyError, OSError) as error:
        log.warning("%s stays beside the ledger: %s", path, error)


def _orphans(runs_dir: Path, now_ns: int) -> Iterator[tuple[Path, Heartbeat]]:
    for path in sorted(runs_dir.glob(f"*/{FILE_NAME}*")):
        claimant = path.name.partition(_CLAIMED)[2]
        if claimant and _is_alive(claimant):
            continue
        try:
            beat = read_heartbeat(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            log.warning("%s tells nothing of a killed run: %s; it is set aside.", path, error)
            path.rename(path.with_name("meter.unreadable.json"))
            continue
        if beat.host == machine.host_name() and not _lives(beat, now_ns):
            yield path, beat


def _is_alive(claimant: str) -> bool:
    try:
        return ProcessIdentity.parse(claimant).is_alive()
    except ValueError:
        return False


def _lives(beat: Heartbeat, now_ns: int) -> bool:
    if beat.boot_id != boot_id():
        return False
    if beat.pid_space != pid_space():
        # Another container's processes cannot be seen; one that lives writes each second.
        return now_ns - beat.time_ns < STALE_S * NS_PER_S
    return ProcessIdentity(beat.pid, beat.process_started, beat.boot_id).is_alive()


def _facts(beat: Heartbeat, ledger: Ledger, counters: Counters, now_ns: int) -> list[Fact]:
    same_boot = beat.boot_id == boot_id()
    facts: list[Fact] = []
    for position in beat.positions:
        recorded_mj, until_ns = ledger.device_energy(
            beat.run_id, position.device, position.start_ns, beat.since_seq
        )
        if until_ns > position.known_ns:
            # A start that was killed in its turn had come so far.
            continue
        facts += _known(position, recorded_mj, max(until_ns, position.start_ns))
        counter_mj = counters.get(position.device) if same_boot else None
        if not beat.closed:
            facts += _tail(position, counter_mj, now_ns)
    used_mj = sum(fact.energy_mj for fact in facts if isinstance(fact, Interval))
    why = (
        f"the process was killed; {used_mj / 1000:,.0f} J that it had not written down are recorded"
    )
    return [*facts, Decision(decision=RECOVERED, why=why, figures={"energy_mj": used_mj})]


def _known(position: DeviceSnapshot, recorded_mj: int, start_ns: int) -> list[Fact]:
    """Record what the meter knew and the ledger does not have."""
    missing_mj = max(0, position.energy_mj - recorded_mj)
    if start_ns >= position.known_ns:
        return []
    return [_interval(position, start_ns, position.known_ns, missing_mj, position.method, 0)]


def _tail(position: DeviceSnapshot, counter_mj: int | None, now_ns: int) -> list[Fact]:
    """Record what it used between its last heartbeat and its death."""
    if position.counter_mj is None and position.energy_mj == 0 and position.power_mw == 0:
        return [_never_read(position)]
    since_ns = now_ns - position.known_ns
    if since_ns <= 0:
        # The machine's clock was set back meanwhile: how long ago it was is not known.
        since_ns = round(TAIL_S * NS_PER_S)
    tail_ns = min(since_ns, round(TAIL_S * NS_PER_S))
    has_counter = position.counter_mj is not None and counter_mj is not None
    used_mj = (counter_mj or 0) - (position.counter_mj or 0)
    if not has_counter or used_mj < 0:
        tail_ns = min(tail_ns, round(HEARTBEAT_S * NS_PER_S))
        guess_mj = round(position.power_mw * tail_ns / NS_PER_S)
        return [_interval(position, position.known_ns, position.known_ns + tail_ns, guess_mj,
                          str(Method.ESTIMATED), guess_mj // 2)]  # fmt: skip
    most_mj = round(max(position.peak_mw, position.power_mw) * tail_ns / NS_PER_S)
    recorded_mj = min(used_mj, most_mj)
    is_soon = since_ns <= tail_ns
    method = position.method if is_soon and recorded_mj == used_mj else str(Method.ESTIMATED)
    end_ns = position.known_ns + tail_ns
    sigma_mj = 0 if method == position.method else recorded_mj // 2
    facts: list[Fact] = [
        _interval(position, position.known_ns, end_ns, recorded_mj, method, sigma_mj)
    ]
    if used_mj > recorded_mj:
        facts.append(_left(position, used_mj - recorded_mj, since_ns))
    return facts


def _never_read(position: DeviceSnapshot) -> Incomplete:
    """State the gap of a process that was killed before a device was read."""
    return Incomplete(
        what=f"{position.device}: {NEVER_READ}",
        why="the process was killed before the device was first read; what it used until then is "
        "not known",
    )


def _left(position: DeviceSnapshot, left_mj: int, since_ns: int) -> Incomplete:
    seconds = since_ns / NS_PER_S
    return Incomplete(
        what=f"{position.device}: end of a killed segment",
        why=f"its counter went on by {left_mj / 1000:,.0f} J more in the {seconds:,.0f} s until "
        "the next start; by whom is not known, so they are not recorded",
    )


def _interval(
    position: DeviceSnapshot, start_ns: int, end_ns: int, energy_mj: int, method: str, sigma_mj: int
) -> Interval:
    return Interval(
        device=position.device, component=position.component, start_ns=start_ns, end_ns=end_ns,
        energy_mj=energy_mj, method=method, sigma_mj=sigma_mj, phase=RECOVERED,
    )  # fmt: skip


def _nvml_counters() -> Counters:
    from carbon_trainer.energy.sources.nvml import discover_gpus

    counters: Counters = {}
    for source in discover_gpus():
        try:
            source.open()
            reading = source.read()
            source.close()
        except SourceLostError as error:
            log.debug("recovery: %s", error)
            continue
        if reading is not None and reading.energy_mj is not None:
            counters[source.describe().device] = reading.energy_mj
    return counters


def _within(read: Callable[[], Counters], seconds: float) -> Counters:
    """Call in a thread, so that a driver that hangs does not hold the start up."""
    answer: Counters = {}
    thread = threading.Thread(target=lambda: answer.update(read()), daemon=True)
    thread.start()
    thread.join(seconds)
    return dict(answer) if not thread.is_alive() else {}
