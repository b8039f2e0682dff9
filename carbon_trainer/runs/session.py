"""One run being recorded: its meter, its ledger, its clock. Knows nothing of Lightning.

A session is what callbacks of any framework call. It never waits for a disk and never raises
into training: what goes wrong is logged once and written into the record as a gap.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic

from typing_extensions import TypeVar

from carbon_trainer.clock import NS_PER_S, Clock, SystemClock, to_datetime
from carbon_trainer.config import MeteredConfig, RunConfig, ScheduleSettings
from carbon_trainer.distributed.node_metering import NodeReport, RemoteNodes
from carbon_trainer.durations import duration_ns, ns_of, time_of
from carbon_trainer.energy.heartbeat import FILE_NAME as HEARTBEAT_FILE
from carbon_trainer.energy.meter import EnergyMeter, EnergySummary
from carbon_trainer.errors import InputError
from carbon_trainer.grid.forecasts import Forecasts
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.ledger.chain import ChainHead
from carbon_trainer.ledger.facts import (
    CheckpointSaved,
    Decision,
    Fact,
    Incomplete,
    Interruption,
    Progress,
    Resumed,
    RunClosed,
)
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger
from carbon_trainer.ledger.writer import LedgerWriter
from carbon_trainer.runs.accounting import Accounting, AccruedUsage, EmissionFactor, Snapshot
from carbon_trainer.runs.background import BackgroundRecorder
from carbon_trainer.runs.facts import (
    boundary_stated,
    intensity_used,
    remote_machine_described,
    run_opened,
)
from carbon_trainer.runs.outcome import FINISHED, Outcome, ResumePoint, new_run_id
from carbon_trainer.runs.recovery import recover_killed_or_warn, take_unwritten

log = logging.getLogger(__name__)

DAY_S = 86_400


Config = TypeVar("Config", bound=MeteredConfig)
# Most sessions are of training runs: only what prepares data needs to name another config.
Held = TypeVar("Held", bound=MeteredConfig, default=RunConfig, covariant=True)


class RunSession(Generic[Held]):
    """A run from its opening to its closing. Make one with ``RunSession.open``."""

    def __init__(
        self, config: Held, run_id: str, ledger: Ledger, factor: EmissionFactor,
        meter: EnergyMeter, clock: Clock, entry: str, forecasts: Forecasts | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.run_id = run_id
        self.run_dir = config.runs_dir / run_id
        self.ledger = ledger
        self.forecasts = forecasts
        self.meter = meter
        self._accounting = Accounting(factor)
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
        self._resume_at_ns: int | None = None
        self.listeners: list[Callable[[str], None]] = []
        self._entry = entry
        self._gaps: set[str] = set()
        self._remote_nodes = RemoteNodes()
        self._intensity_lock = threading.Lock()
        self._writer = LedgerWriter(ledger, run_id, clock=clock, spare_dir=self.run_dir)
        self._background = BackgroundRecorder(self, self._writer.head.seq)

    @classmethod
    def open(
        cls, config: Config, *, resume: ResumePoint | None = None, entry: str = "cli",
        clock: Clock | None = None, meter: EnergyMeter | None = None, run_id: str | None = None,
    ) -> RunSession[Config]:  # fmt: skip
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
            opened = clock.now_ns(), run_opened(config, entry)
            ledger.append(run_id, [opened], ledger.head(run_id))
        recover_killed_or_warn(config.runs_dir, ledger, clock)
        if resume is not None:
            take_unwritten(ledger, config.runs_dir / run_id, run_id)
        meter = meter or EnergyMeter(clock=clock, host=config.host_metering)
        forecasts = _forecasts(config, clock)
        session = RunSession(config, run_id, ledger, factor, meter, clock, entry, forecasts)
        session._begin(resume)
        return session

    def _begin(self, resume: ResumePoint | None) -> None:
        self.meter.start()
        is_known = self._writer.head.seq > 0
        if not is_known:
            self.record(run_opened(self.config, self._entry))
            if self.config.operation is not None:
                self.record(boundary_stated(self.config))
        self.energy_before_mj = self.ledger.energy_mj(self.run_id) if is_known else 0
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
            parts = self.ledger.energy_by_intensity(self.run_id)
            self._accounting.take_earlier(parts, self.energy_before_mj)
        if not self.follow_intensity():
            self.record(intensity_used(self.factor, self.config.currency))
        self._background.start()

    def _lost_mj(self, resume: ResumePoint, in_ledger_mj: int) -> int:
        """Return what was used since the checkpoint, if the steps done with it are done again."""
        facts = self.ledger.facts(self.run_id, CheckpointSaved, RunClosed, Resumed)
        last = facts[-1] if facts else None
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
        """Record the energy used within under a phase such as ``validation``."""
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
        ledger than the checkpoint has.
        """
        if not self.closed:
            self._background.write_heartbeat()
        return {
            "run_id": self.run_id,
            "config": self.config.to_json(),
            "energy_mj": self.used_mj(),
            "head_seq": self.head.seq,
            "head_sha256": self.head.sha256,
        }

    def merge_node_report(self, report: NodeReport) -> None:
        """Take what another of the run's machines has used since its last report."""
        if self._remote_nodes.update(report, self.clock.now_ns()):
            self.record(remote_machine_described(report))
        self._background.record_intervals(report.intervals)
        self._background.record_events(report.events, f"{report.node}, ")

    def end_remote_nodes(self) -> None:
        """The other machines have sent their last report."""
        self._remote_nodes.end()

    def resume_at_ns(self) -> int | None:
        """Return when a run that has released itself wants to come back; None if it has not."""
        return self._resume_at_ns

    def request_stop(self, outcome: Outcome, **figures: Any) -> None:
        """Decide how this segment ends; the first decision stands."""
        if self.outcome is None:
            self.outcome = outcome
            self._resume_at_ns = figures.get("until_ns")
            self.record(Decision(decision="stop", why=outcome.reason, figures=figures))
            if outcome.status == "interrupted":
                self.record(Interruption(cause=outcome.reason, step=self.step))

    def record_gap(self, what: str, why: str) -> None:
        """Mark the record as having a gap; each is logged and written once."""
        if what not in self._gaps:
            self._gaps.add(what)
            log.warning("%s: %s; the run's record says so.", what, why)
            self.record(Incomplete(what=what, why=why))

    # What it knows

    def used_mj(self, *, upper: bool = False) -> int:
        """Return the machines' energy of all segments until now, millijoules.

        Args:
            upper: take the upper estimate of what is not yet read, as budgets must.
        """
        remote_mj = self._remote_nodes.used_mj(self.clock.now_ns(), upper=upper)
        return self.energy_before_mj + self.meter.used_mj(upper=upper) + remote_mj

    def power_w(self) -> float:
        """Return the present power of all the run's machines, watts."""
        return self.meter.power_w() + self._remote_nodes.power_w()

    def snapshot(self) -> Snapshot:
        """Return what the run has used until now."""
        return self._accounting.snapshot(self.used_mj(), self.power_w())

    @property
    def factor(self) -> EmissionFactor:
        """What turns energy into emissions and cost at present."""
        return self._accounting.factor

    @property
    def accrued(self) -> AccruedUsage:
        """What had been used when the present factor came into force."""
        return self._accounting.accrued

    def follow_intensity(self) -> bool:
        """Compute emissions from now on by the hour's intensity, where it is known.

        What was used until now keeps the intensity of its own time.

        Returns:
            Whether an intensity was written down.
        """
        now_ns = self.clock.now_ns()
        if self.forecasts is None or now_ns < self._intensity_until_ns:
            return False
        with self._intensity_lock:
            self.forecasts.newest()
            intensity, self._intensity_until_ns = self.forecasts.intensity(now_ns)
            if self.forecasts.problem is not None:
                self.record_gap("forecast", self.forecasts.problem)
            if intensity.same_figure_as(self.factor.intensity):
                return False
            self._background.flush_intervals()
            self._accounting.change_intensity(intensity, self.snapshot())
            self.record(intensity_used(self.factor, self.config.currency))
            return True

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
        self._background.stop()
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
            # Neither ledger nor another file took the last records: the next start recovers them.
            self._background.write_heartbeat(closed=True)
        else:
            self._background.remove_heartbeat()
        return summary


def _with_instant(config: Config, opened_ns: int) -> Config:
    """A deadline that is a duration counts from the run's opening, however often it goes on."""
    if not isinstance(config, ScheduleSettings):
        return config
    if config.deadline is None or "T" in config.deadline:
        return config
    deadline_ns = opened_ns + duration_ns(config.deadline, "--deadline")
    return config.model_copy(update={"deadline": to_datetime(deadline_ns).isoformat()})


def _forecasts(config: MeteredConfig, clock: Clock) -> Forecasts | None:
    """Return the grid's intensity over time, where a setting asks for it."""
    if not isinstance(config, ScheduleSettings):
        return None
    if config.deadline is None and config.provider is None and config.trace is None:
        return None
    now_ns = clock.now_ns()
    until_ns = now_ns + DAY_S * NS_PER_S
    if config.deadline is not None:
        until_ns = ns_of(time_of(config.deadline, "--deadline"))
    return Forecasts(config.zone, config.provider, config.trace, until_ns, clock)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write in {folder.parent}: {error.strerror or error}. Choose another folder "
            "with --runs-dir."
        ) from error


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) != float("inf") and value == value else None
