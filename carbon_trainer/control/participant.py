"""One process of a training: what it meters, records and decides, whichever framework trains."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tqdm import tqdm

from carbon_trainer.config import RunConfig
from carbon_trainer.control.failures import outcome_of, record_failure
from carbon_trainer.distributed.consensus import Consensus
from carbon_trainer.distributed.exchange import NodeExchange
from carbon_trainer.distributed.node_metering import NodeReport
from carbon_trainer.distributed.process import ProcessRank
from carbon_trainer.energy.meter import EnergyMeter
from carbon_trainer.errors import InputError
from carbon_trainer.runs.outcome import FINISHED, ResumePoint
from carbon_trainer.runs.session import RunSession


class RankContext:
    """Rank 0 has the run's session; the first rank of another machine meters that machine.

    Make one with ``open_on_rank_zero`` on rank 0 and with ``join_as_worker`` on the others, at
    the same time.

    Attributes:
        process: this process.
        session: the run's record; None on ranks that keep none.
        meter: the machine's meter; None where another rank meters it.
        consensus: how ranks decide together.
    """

    def __init__(
        self,
        process: ProcessRank,
        session: RunSession | None,
        *,
        consensus: Consensus,
        exchange: NodeExchange | None = None,
        meter: EnergyMeter | None = None,
        owns_session: bool = False,
    ) -> None:
        self.process = process
        self.session = session
        self.meter = session.meter if session is not None else meter
        self.consensus = consensus
        self._exchange = exchange
        self._owns_session = owns_session

    @classmethod
    def open(
        cls,
        config: RunConfig,
        process: ProcessRank,
        resume: ResumePoint | None = None,
        session: RunSession | None = None,
        entry: str = "callback",
    ) -> RankContext:
        """Open the run on rank 0, join it on every other rank; all must call it at the same time.

        Args:
            config: the run's settings.
            process: this process.
            resume: the point to resume from; None for a new run.
            session: a session that the caller opened and will close, to use instead.
            entry: who opens the run, for the record.

        Raises:
            InputError: if a setting does not fit what is there, on this rank or on rank 0.
        """
        if process.rank == 0:
            return cls.open_on_rank_zero(config, process, resume, session, entry)
        return cls.join_as_worker(config, process)

    @classmethod
    def open_on_rank_zero(
        cls,
        config: RunConfig,
        process: ProcessRank,
        resume: ResumePoint | None = None,
        session: RunSession | None = None,
        entry: str = "callback",
    ) -> RankContext:
        """Open the run, or take a session that the caller opened and will close; see ``open``."""
        exchange, consensus = NodeExchange.create(process), Consensus(process)
        is_own = session is None
        try:
            session = session or _open_session(config, resume, exchange, entry)
        except Exception as error:
            # The other ranks wait for this one, and must learn that the run will not begin.
            consensus.broadcast(str(error) or repr(error))
            cls(process, None, exchange=exchange, consensus=consensus).close(error)
            raise
        consensus.broadcast("")
        if is_own:
            session.listeners.append(print_notice)
        return cls(process, session, exchange=exchange, consensus=consensus, owns_session=is_own)

    @classmethod
    def join_as_worker(cls, config: RunConfig, process: ProcessRank) -> RankContext:
        """Take part in decisions on a rank other than 0; it records nothing.

        Raises:
            InputError: if rank 0 could not open the run.
        """
        exchange, consensus = NodeExchange.create(process), Consensus(process)
        refusal = consensus.broadcast("")
        if refusal:
            cls(process, None, exchange=exchange, consensus=consensus).close(None)
            raise InputError(refusal)
        meter = None
        if exchange is not None and exchange.assignment is not None:
            meter = EnergyMeter(host=config.host_metering, gpus=exchange.assignment.gpus)
            meter.start()
        return cls(process, None, exchange=exchange, meter=meter, consensus=consensus)

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """UUIDs of the GPUs that this rank meters and sets; None for all that it may use.

        Empty on a rank whose machine another rank meters.
        """
        if self._exchange is None:
            return None
        assignment = self._exchange.assignment
        return assignment.gpus if assignment is not None else ()

    def set_phase(self, name: str) -> None:
        """Record what is used from now on under a phase."""
        if self.meter is not None:
            self.meter.set_phase(name)

    def exchange(self, step: int) -> None:
        """Learn, at steps that all ranks agree on, what other machines have used."""
        if self._exchange is None or self.meter is None:
            return
        now_ns = self.session.clock.now_ns() if self.session is not None else 0
        self._merge(self._exchange.exchange(step, self.meter, now_ns))

    def fail(self, event: str, error: Exception) -> None:
        """Record a failure of our own; from then on a budget cannot be relied on."""
        record_failure(self.session, event, error)

    def close(self, exception: BaseException | None) -> RunSession | None:
        """Leave the other ranks, and close the run if it was opened here.

        Args:
            exception: what ended training; None if it ended in an orderly way.

        Returns:
            The session that was closed, if it was.
        """
        self._finish_exchange(exception)
        self.consensus.destroy()
        if self._exchange is not None:
            self._exchange.destroy()
        if self.session is None or not self._owns_session:
            return None
        self.session.close(FINISHED if exception is None else outcome_of(exception))
        return self.session

    def _finish_exchange(self, exception: BaseException | None) -> None:
        """Exchange the last reports; not after an exception, which other ranks may not have had."""
        if self._exchange is None or self.meter is None:
            return
        self.meter.stop()
        if exception is None:
            self._merge(self._exchange.finish(self.meter))
        elif self.session is not None and self._exchange.is_due:
            why = "training ended by an exception, so other machines could not send their last"
            self.session.record_gap("energy of other machines", why)
        if self.session is not None:
            self.session.end_remote_nodes()

    def _merge(self, reports: Sequence[NodeReport]) -> None:
        if self.session is None:
            return
        for report in reports:
            self.session.merge_node_report(report)
        if self._exchange is not None and self._exchange.broken:
            self.session.record_gap("energy of other machines", self._exchange.broken)
            self.session.meter_loss = self.session.meter_loss or self._exchange.broken


def print_notice(sentence: str) -> None:
    """Print a sentence on the terminal, above a progress bar if there is one.

    Training that waits for hours has to say so, whatever level its user logs at.
    """
    tqdm.write(f"carbon-trainer: {sentence}", file=sys.stderr)


def _open_session(
    config: RunConfig, resume: ResumePoint | None, exchange: NodeExchange | None, entry: str
) -> RunSession:
    meter = None
    if exchange is not None and exchange.assignment is not None:
        meter = EnergyMeter(host=config.host_metering, gpus=exchange.assignment.gpus)
    return RunSession.open(config, resume=resume, entry=entry, meter=meter)
