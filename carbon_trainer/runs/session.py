"""One run being recorded: its meter, its ledger, its clock. Knows nothing of Lightning.

A session is what callbacks of any framework call. It never waits for a disk and never raises
into training: what goes wrong is logged once and written into the record as a gap.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock, to_datetime
from carbon_trainer.config import RunConfig
from carbon_trainer.distributed.node_metering import NodeReport, RemoteNodes
from carbon_trainer.durations import duration_ns, ns_of, time_of
from carbon_trainer.energy.heartbeat import FILE_NAME as HEARTBEAT_FILE
from carbon_trainer.energy.heartbeat import Heartbeat, write_heartbeat
from carbon_trainer.energy.meter import EnergyMeter, EnergySummary, MeteredInterval
from carbon_trainer.energy.poller import MeterEvent
from carbon_trainer.errors import InputError
from carbon_trainer.grid.forecasts import Forecasts
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.hardware import machine
from carbon_trainer.hardware.process import ProcessIdentity, pid_space
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    BoundaryStated,
    CheckpointSaved,
    Decision,
    Fact,
    Incomplete,
    IntensityUsed,
    Interruption,
    Interval,
    MachineDescribed,
    Progress,
    Resumed,
    RunClosed,
    RunOpened,
)
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.writer import LedgerWriter
from carbon_trainer.runs.accounting import ZERO, AccruedUsage, EmissionFactor, Snapshot
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint, new_run_id
from carbon_trainer.runs.recovery import recover_killed, take_unwritten
from carbon_trainer.units import kwh_from_mj

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
"""How often the recorder looks at the meter, seconds."""

LONGEST_INTERVAL_S = 60.0

DAY_S = 86_400


class RunSession:
    """A run from its opening to its closing. Make one with ``RunSession.open``."""

    def __init__(
        self, config: RunConfig, run_id: str, ledger: Ledger, factor: EmissionFactor,
        meter: EnergyMeter, clock: Clock, entry: str, forecasts: Forecasts | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.run_id = run_id
        self.run_dir = config.runs_dir / run_id
        self.ledger = ledger
        self.forecasts = forecasts
        self.meter = meter
        # One object, so that a reader in another thread never sees half of a change.
        self._reckoning = ZERO, factor
        self._intensity_until_ns = 0
        self.clock = clock
        self.outcome: Outcome | None = None
        self.step = 0
        self.tokens = 0
        self.tokens_per_step = 0
        self.loss: float | None = None
        self.validation_loss: float | None = None
        self.last_checkpoint: str | None = None
        self.checkpoint_s = 0.0
        self.energy_before_mj = 0
        self.meter_loss: str | None = None
        self.closed = False
        self.waiting_until_ns: int | None = None
        self._returns_ns: int | None = None
        self.listeners: list[Callable[[str], None]] = []
        self._entry = entry
        self._started_ns = clock.now_ns()
        self._last_flush_ns = self._started_ns
        self._process = ProcessIdentity.current()
        self._complaints: set[str] = set()
        self._machine: MachineDescribed | None = None
        self._elsewhere = RemoteNodes()
        self._closing = threading.Event()
        self._reckoning_lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._heartbeat_lock = threading.Lock()
        self._writer = LedgerWriter(ledger, run_id, clock=clock, spare_dir=self.run_dir)
        self._since_seq = self._writer.head.seq
        self._recorder = threading.Thread(target=self._record, name="recorder", daemon=True)

    @classmethod
    def open(
        cls, config: RunConfig, *, resume: ResumePoint | None = None, entry: str = "cli",
        clock: Clock | None = None, meter: EnergyMeter | None = None, run_id: str | None = None,
    ) -> RunSession:  # fmt: skip
        """Open a run, or a further segment of one, and start to meter it.

        Args:
            config: what the run was asked to do.
            resume: where to go on; None for a new run.
            entry: who opens it: ``cli`` or ``callback``.
            clock: the time; the system's by default.
            meter: what meters; all GPUs in use and the host by default.
            run_id: the id of a new run; a new one by default.

        Raises:
            InputError: if the zone is unknown or the folder cannot be written.
            LedgerError: if the ledger cannot be used.
        """
        clock = clock or SystemClock()
        factor = EmissionFactor(
            ZoneFactors().intensity(config.zone), config.pue, config.price_per_kwh
        )
        ledger = Ledger.open(location_of(config.ledger, config.runs_dir))
        run_id = resume.run_id if resume else run_id or new_run_id(clock)
        config = _with_instant(config, ledger.opened_ns(run_id) or clock.now_ns())
        _make_folder(config.runs_dir / run_id)
        if (config.runs_dir / run_id / HEARTBEAT_FILE).exists() and not ledger.head(run_id).seq:
            # A start of this run whose disk took not one record: what it used has to go somewhere.
            opened = clock.now_ns(), _opened(config, entry)
            ledger.append(run_id, [opened], ledger.head(run_id))
        _recover(config.runs_dir, ledger, clock)
        if resume is not None:
            take_unwritten(ledger, config.runs_dir / run_id, run_id)
        meter = meter or EnergyMeter(clock=clock, host=config.host_metering)
        forecasts = _forecasts(config, clock)
        session = cls(config, run_id, ledger, factor, meter, clock, entry, forecasts)
        session._begin(resume)
        return session

    def _begin(self, resume: ResumePoint | None) -> None:
        self.meter.start()
        known = self._writer.head.seq > 0
        if not known:
            self.record(_opened(self.config, self._entry))
            if self.config.operation is not None:
                self.record(_boundary(self.config))
        self.energy_before_mj = self.ledger.energy_mj(self.run_id) if known else 0
        if resume:
            in_ledger_mj = self.energy_before_mj
            self.energy_before_mj = max(in_ledger_mj, resume.energy_mj)
            self.step = resume.step
            if resume.energy_mj > in_ledger_mj:
                gap_mj = resume.energy_mj - in_ledger_mj
                why = f"the checkpoint knows of {gap_mj / 1000:.0f} J more than the ledger has"
                self.record(Incomplete(what="energy of earlier segments", why=why))
            self.record(
                Resumed(
                    checkpoint=resume.checkpoint or "",
                    step=resume.step,
                    config=self.config.to_json(),
                    energy_before_mj=self.energy_before_mj,
                    lost_mj=self._lost_mj(resume, in_ledger_mj),
                )
            )
        if self.energy_before_mj:
            self._reckoning = self._settled_before(), self.factor
        if not self.follow_intensity():
            self.record(_intensity_fact(self.factor, self.config.currency))
        self._write_heartbeat()
        self._recorder.start()

    def _lost_mj(self, resume: ResumePoint, in_ledger_mj: int) -> int:
        """Return what was used since the checkpoint, if the steps done with it are done again."""
        done = self.ledger.facts(self.run_id, CheckpointSaved, RunClosed, Resumed)
        last = done[-1] if done else None
        orderly = last is not None and last.kind == RunClosed.kind
        if orderly and last is not None and last.body["step"] <= resume.step:
            return 0
        return max(0, in_ledger_mj - resume.energy_mj)

    # What callbacks say

    def record(self, *facts: Fact) -> None:
        """Write facts down, soon and without waiting."""
        self._writer.put(*facts)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the energy used within as that of a phase such as ``validation``."""
        with self.meter.phase(name):
            yield

    def progress(
        self, step: int, tokens: int, loss: float | None = None, validation: float | None = None
    ) -> None:
        """Note how far training has come; counts are cumulative over all segments."""
        self.step, self.tokens = step, tokens
        self.loss = self.loss if loss is None else loss
        self.validation_loss = self.validation_loss if validation is None else validation
        self.record(
            Progress(
                time_ns=self.clock.now_ns(),
                step=step,
                tokens=tokens,
                loss=_finite(loss),
                validation_loss=_finite(validation),
            )
        )

    def checkpoint_saved(
        self, path: Path, *, step: int, size: int, seconds: float, why: str
    ) -> None:
        """Note a checkpoint."""
        self.last_checkpoint = str(path)
        self.checkpoint_s = max(self.checkpoint_s, seconds)
        self.record(
            CheckpointSaved(
                path=str(path), step=step, bytes=size, seconds=round(seconds, 6), why=why
            )
        )

    def checkpoint_state(self) -> dict[str, Any]:
        """Return what any checkpoint must carry of the run; plain types only.

        The heartbeat is brought up to it: a start after a kill would else find less energy in the
        ledger than the checkpoint tells of.
        """
        if not self.closed:
            self._write_heartbeat()
        return {
            "run_id": self.run_id,
            "config": self.config.to_json(),
            "energy_mj": self.used_mj(),
            "head_seq": self.head.seq,
            "head_sha256": self.head.sha256,
        }

    def merge_node_report(self, report: NodeReport) -> None:
        """Take what another of the run's machines has used since it last told."""
        if self._elsewhere.update(report, self.clock.now_ns()):
            self.record(_machine_elsewhere(report))
        self._put_intervals(report.intervals)
        self._put_events(report.events, f"{report.node}, ")

    def end_remote_nodes(self) -> None:
        """The other machines have told their last."""
        self._elsewhere.end()

    def resume_at_ns(self) -> int | None:
        """Return when a run that has released itself wants to come back; None if it has not."""
        return self._returns_ns

    def request_stop(self, outcome: Outcome, **figures: Any) -> None:
        """Decide how this segment ends; the first decision stands."""
        if self.outcome is None:
            self.outcome = outcome
            self._returns_ns = figures.get("until_ns")
            self.record(Decision(decision="stop", why=outcome.reason, figures=figures))
            if outcome.status == "interrupted":
                self.record(Interruption(cause=outcome.reason, step=self.step))

    def record_gap(self, what: str, why: str) -> None:
        """Mark the record as having a gap; each is logged and written once."""
        if what not in self._complaints:
            self._complaints.add(what)
            log.warning("%s: %s; the run's record says so.", what, why)
            self.record(Incomplete(what=what, why=why))

    # What it knows

    def used_mj(self, *, upper: bool = False) -> int:
        """Return the machines' energy of all segments until now, millijoules.

        Args:
            upper: take the upper estimate of what is not yet read, as budgets must.
        """
        elsewhere_mj = self._elsewhere.used_mj(self.clock.now_ns(), upper=upper)
        return self.energy_before_mj + self.meter.used_mj(upper=upper) + elsewhere_mj

    def power_w(self) -> float:
        """Return the present power of all the run's machines, watts."""
        return self.meter.power_w() + self._elsewhere.power_w()

    def snapshot(self) -> Snapshot:
        """Return what the run has used until now."""
        used_mj = self.used_mj()
        settled, factor = self._reckoning
        since_mj = used_mj - settled.energy_mj
        cost = factor.cost(since_mj)
        return Snapshot(
            energy_mj=used_mj,
            energy_kwh=factor.facility_kwh(used_mj),
            emissions_kgco2e=settled.emissions_kgco2e + factor.emissions_kgco2e(since_mj),
            cost=None if cost is None else settled.cost + cost,
            power_w=self.power_w(),
        )

    @property
    def factor(self) -> EmissionFactor:
        """What turns energy into emissions and cost at present."""
        return self._reckoning[1]

    @property
    def accrued(self) -> AccruedUsage:
        """What had been used when the present factor came into force."""
        return self._reckoning[0]

    def follow_intensity(self) -> bool:
        """Compute emissions from now on by the hour's intensity, where it is known.

        What was used until now keeps the intensity of its own time.

        Returns:
            Whether an intensity was written down.
        """
        now_ns = self.clock.now_ns()
        if self.forecasts is None or now_ns < self._intensity_until_ns:
            return False
        with self._reckoning_lock:
            self.forecasts.newest()
            intensity, self._intensity_until_ns = self.forecasts.intensity(now_ns)
            if self.forecasts.problem is not None:
                self.record_gap("forecast", self.forecasts.problem)
            if intensity.same_figure_as(self.factor.intensity):
                return False
            self._flush_intervals()
            used = self.snapshot()
            settled = AccruedUsage(used.energy_mj, used.emissions_kgco2e, used.cost or 0.0)
            self._reckoning = settled, dataclasses.replace(self.factor, intensity=intensity)
            self.record(_intensity_fact(self.factor, self.config.currency))
            return True

    def _settled_before(self) -> AccruedUsage:
        """Return what earlier segments have emitted and cost, each part by its own factor."""
        pue, emitted_kg, cost, known_mj = self.factor.pue, 0.0, 0.0, 0
        for fact, energy_mj in self.ledger.energy_by_intensity(self.run_id):
            kwh = kwh_from_mj(energy_mj) * float(fact["pue"])
            emitted_kg += kwh * float(fact["intensity_gco2e_per_kwh"]) / 1000
            cost += kwh * float(fact["price_per_kwh"] or 0.0)
            known_mj += energy_mj
        gap_kwh = kwh_from_mj(self.energy_before_mj - known_mj) * pue
        emitted_kg += gap_kwh * self.factor.intensity.intensity_gco2e_per_kwh / 1000
        cost += gap_kwh * (self.factor.price_per_kwh or 0.0)
        return AccruedUsage(self.energy_before_mj, emitted_kg, cost)

    def notify(self, sentence: str) -> None:
        """Tell people something, wherever they follow the run."""
        log.info("%s", sentence)
        for listener in self.listeners:
            listener(sentence)

    @property
    def head(self) -> ChainHead:
        """The last record that the ledger has of this run."""
        return self._writer.head

    # How it ends

    def close(self, outcome: Outcome | None = None) -> EnergySummary:
        """Stop metering and write down how it ended; the first call counts."""
        summary = self.meter.stop()
        if self.closed:
            return summary
        self.closed = True
        self._closing.set()
        self._recorder.join(timeout=10)
        self._flush_intervals(final=True)
        if not summary.devices:
            self.record_gap("energy", "there was no device whose energy could be read")
        final = self.outcome or outcome or FINISHED
        self.outcome = final
        self.record(
            RunClosed(
                status=final.status,
                exit_status=final.exit_status,
                reason=final.reason,
                step=self.step,
                tokens=self.tokens,
                checkpoint=self.last_checkpoint,
            )
        )
        self._writer.close()
        take_unwritten(self.ledger, self.run_dir, self.run_id)
        if self._writer.lost:
            # Neither the ledger nor another file took the last records: the next start books them.
            self._write_heartbeat(closed=True)
        else:
            (self.run_dir / HEARTBEAT_FILE).unlink(missing_ok=True)
        return summary

    # The recorder's thread

    def _record(self) -> None:
        while not self._closing.wait(self._poll_interval_s()):
            try:
                self._note_events()
                self._write_heartbeat()
                self.follow_intensity()
                if self.clock.now_ns() - self._last_flush_ns >= self._interval_ns():
                    self._flush_intervals()
            except Exception as error:
                log.debug("recorder", exc_info=True)
                self.record_gap("energy records", f"{type(error).__name__}: {error}")

    def _poll_interval_s(self) -> float:
        """Look often until devices have been read: a kill would leave nothing that tells of them.

        One that is never read does not keep it so for long.
        """
        positions = self.meter.positions()
        known = positions and all(
            one.known_ns > one.start_ns and (one.counter_mj is not None or one.component != "gpu")
            for one in positions
        )
        is_young = self.clock.now_ns() - self._started_ns < 5 * POLL_INTERVAL_S * NS_PER_S
        return POLL_INTERVAL_S / 10 if is_young and not known else POLL_INTERVAL_S

    def _write_heartbeat(self, *, closed: bool = False) -> None:
        """Leave word of how far metering has come, should this process be killed."""
        beat = Heartbeat(
            self.run_id, machine.host_name(), self._process.boot_id, pid_space(),
            self._process.pid, self._process.started_s, self.clock.now_ns(),
            self.meter.positions(), self._since_seq, closed,
        )  # fmt: skip
        try:
            with self._heartbeat_lock:
                write_heartbeat(self.run_dir / HEARTBEAT_FILE, beat)
        except OSError as error:
            self.record_gap("energy of a crash", f"no heartbeat can be written: {error.strerror}")

    def _interval_ns(self) -> int:
        """Short intervals while a run is young, so that its charts have points; then longer."""
        age_s = (self.clock.now_ns() - self._started_ns) / NS_PER_S
        return round(min(max(age_s / 200, POLL_INTERVAL_S), LONGEST_INTERVAL_S) * NS_PER_S)

    def _flush_intervals(self, *, final: bool = False) -> None:
        with self._flush_lock:
            self._note_events()
            self._describe_machine()
            self._put_intervals(self.meter.drain_intervals(final=final))
            self._last_flush_ns = self.clock.now_ns()

    def _put_intervals(self, intervals: Iterable[MeteredInterval]) -> None:
        for interval in intervals:
            self.record(
                Interval(
                    device=interval.device,
                    component=str(interval.component),
                    start_ns=interval.start_ns,
                    end_ns=interval.end_ns,
                    energy_mj=interval.energy_mj,
                    method=str(interval.method),
                    sigma_mj=round(interval.sigma_mj),
                    phase=interval.phase,
                    steps=interval.steps,
                    tokens=interval.steps * self.tokens_per_step,
                )
            )

    def _note_events(self) -> None:
        self._put_events(self.meter.events(), "")

    def _put_events(self, events: Iterable[MeterEvent], where: str) -> None:
        for event in events:
            if event.lost:
                self.record_gap(f"{where}{event.device}: {event.what}", event.why)
                self.meter_loss = f"{where}{event.device}: {event.why}"
            else:
                self.meter_loss = None
                self.record(
                    Decision(decision=f"{where}{event.device}: {event.what}", why=event.why)
                )

    def _describe_machine(self) -> None:
        sources = [dataclasses.asdict(row.info) for row in self.meter.summary().devices]
        described = MachineDescribed(
            host=machine.host_name(),
            os=machine.operating_system(),
            cpu=machine.cpu_name(),
            cpu_cores=machine.cpu_cores(),
            memory_bytes=machine.memory_bytes(),
            sources=[{key: _plain(value) for key, value in row.items()} for row in sources],
        )
        if _without_refresh(described) != _without_refresh(self._machine):
            self._machine = described
            self.record(described)


def _machine_elsewhere(report: NodeReport) -> MachineDescribed:
    return MachineDescribed(
        host=report.host,
        os="",
        cpu="",
        cpu_cores=0,
        memory_bytes=0,
        sources=[{key: _plain(value) for key, value in row.items()} for row in report.sources],
    )


def _opened(config: RunConfig, entry: str) -> RunOpened:
    return RunOpened(
        name=config.name,
        project=config.project,
        config=config.to_json(),
        software=machine.software_versions(),
        entry=entry,
        user=_user(config),
    )


def _user(config: RunConfig) -> str:
    return machine.user_name() if config.user is None else config.user


def _boundary(config: RunConfig) -> BoundaryStated:
    return BoundaryStated(
        operation=config.operation or "",
        organisation=config.organisation,
        by=_user(config) or "the run's settings",
    )


def _with_instant(config: RunConfig, opened_ns: int) -> RunConfig:
    """A deadline that is a duration counts from the run's opening, however often it goes on."""
    if config.deadline is None or "T" in config.deadline:
        return config
    deadline_ns = opened_ns + duration_ns(config.deadline, "--deadline")
    return config.model_copy(update={"deadline": to_datetime(deadline_ns).isoformat()})


def _forecasts(config: RunConfig, clock: Clock) -> Forecasts | None:
    """Return what tells the grid's intensity over time, if anything was said to."""
    if config.deadline is None and config.provider is None and config.trace is None:
        return None
    now_ns = clock.now_ns()
    until_ns = now_ns + DAY_S * NS_PER_S
    if config.deadline is not None:
        until_ns = ns_of(time_of(config.deadline, "--deadline"))
    return Forecasts(config.zone, config.provider, config.trace, until_ns, clock)


def _recover(runs_dir: Path, ledger: Ledger, clock: Clock) -> None:
    """Book what killed runs had used; a start never fails by it."""
    try:
        for one in recover_killed(runs_dir, ledger, clock):
            log.warning(
                "%s was killed; %.0f J of it are booked now.", one.run_id, one.energy_mj / 1e3
            )
    except Exception as error:
        log.warning("energy of killed runs could not be booked: %s", error)
        log.debug("recovery", exc_info=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write in {folder.parent}: {error.strerror or error}. Choose another folder "
            "with --runs-dir."
        ) from error


def _intensity_fact(factor: EmissionFactor, currency: str) -> IntensityUsed:
    intensity = dataclasses.asdict(factor.intensity)
    return IntensityUsed(
        **intensity,
        pue=factor.pue,
        pue_method="assumed" if factor.pue == 1.0 else "as given",
        price_per_kwh=factor.price_per_kwh,
        currency=currency,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) != float("inf") and value == value else None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def _without_refresh(described: MachineDescribed | None) -> list[dict[str, Any]] | None:
    if described is None:
        return None
    return [{k: v for k, v in row.items() if k != "refresh_s"} for row in described.sources]
