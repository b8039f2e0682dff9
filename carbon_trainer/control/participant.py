"""One process of a training: what it meters, records and agrees on, whichever framework trains."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from carbon_trainer.config import RunConfig
from carbon_trainer.control.failures import note_failure, outcome_of
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

    Make one with ``lead`` on rank 0 and with ``follow`` on the others, at the same time.

    Attributes:
        session: the run's record; None on ranks that keep none.
        meter: the machine's meter; None where another rank meters it.
        consensus: how ranks decide together.
    """

    def __init__(
        self,
        session: RunSession | None,
        *,
        agreement: Consensus,
        ranks: NodeExchange | None = None,
        meter: EnergyMeter | None = None,
        owns_session: bool = False,
    ) -> None:
        self.session = session
        self.meter = session.meter if session is not None else meter
        self.consensus = agreement
        self._ranks = ranks
        self._owns_session = owns_session

    @classmethod
    def open_on_rank_zero(
        cls,
        config: RunConfig,
        place: ProcessRank,
        resume: ResumePoint | None = None,
        given: RunSession | None = None,
    ) -> RankContext:
        """Open the run, or take a session that somebody else opened and will close.

        Args:
            config: the run's settings.
            place: this process's.
            resume: where the run goes on; None for a new one.
            given: the session to take instead.

        Raises:
            InputError: if a setting does not fit what is there.
        """
        ranks, agreement = NodeExchange.create(place), Consensus(place)
        try:
            session = given or _opened(config, resume, ranks)
        except Exception as error:
            # The other ranks wait for this one, and have to hear that it will not begin.
            agreement.broadcast(str(error) or repr(error))
            cls(None, ranks=ranks, agreement=agreement).close(error)
            raise
        agreement.broadcast("")
        if given is None:
            session.listeners.append(speak)
        return cls(session, ranks=ranks, agreement=agreement, owns_session=given is None)

    @classmethod
    def join_as_worker(cls, config: RunConfig, place: ProcessRank) -> RankContext:
        """Stand in on a rank other than 0: takes part in decisions, records nothing.

        Raises:
            InputError: if rank 0 could not open the run.
        """
        ranks, agreement = NodeExchange.create(place), Consensus(place)
        refusal = agreement.broadcast("")
        if refusal:
            cls(None, ranks=ranks, agreement=agreement).close(None)
            raise InputError(refusal)
        meter = None
        if ranks is not None and ranks.assignment is not None:
            meter = EnergyMeter(host=config.host_metering, gpus=ranks.assignment.gpus)
            meter.start()
        return cls(None, ranks=ranks, meter=meter, agreement=agreement)

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """UUIDs of the GPUs that this rank meters and sets; None for all that it may use.

        Empty on a rank whose machine another rank looks after.
        """
        if self._ranks is None:
            return None
        return self._ranks.assignment.gpus if self._ranks.assignment is not None else ()

    def set_phase(self, name: str) -> None:
        """Book what is used from now on under a phase."""
        if self.meter is not None:
            self.meter.set_phase(name)

    def exchange(self, step: int) -> None:
        """Learn, at steps that all ranks agree on, what other machines have used."""
        if self._ranks is None or self.meter is None:
            return
        now_ns = self.session.clock.now_ns() if self.session is not None else 0
        self._take(self._ranks.exchange(step, self.meter, now_ns))

    def failed(self, event: str, error: Exception) -> None:
        """Something of ours broke: the record says so, and a budget no longer holds."""
        note_failure(self.session, event, error)

    def close(self, exception: BaseException | None) -> RunSession | None:
        """Let go of the other ranks, and close the run if it was opened here.

        Args:
            exception: what ended training; None if it ended in an orderly way.

        Returns:
            The session that was closed, if it was.
        """
        self._finish_exchange(exception)
        self.consensus.destroy()
        if self._ranks is not None:
            self._ranks.destroy()
        if self.session is None or not self._owns_session:
            return None
        self.session.close(FINISHED if exception is None else outcome_of(exception))
        return self.session

    def _finish_exchange(self, exception: BaseException | None) -> None:
        """Learn the last of it; not after an exception, which other ranks may not have had."""
        if self._ranks is None or self.meter is None:
            return
        self.meter.stop()
        if exception is None:
            self._take(self._ranks.finish(self.meter))
        elif self.session is not None and self._ranks.is_due:
            why = "training ended by an exception, so other machines could not tell their last"
            self.session.record_gap("energy of other machines", why)
        if self.session is not None:
            self.session.end_remote_nodes()

    def _take(self, reports: Sequence[NodeReport]) -> None:
        if self.session is None:
            return
        for report in reports:
            self.session.merge_node_report(report)
        if self._ranks is not None and self._ranks.broken:
            self.session.record_gap("energy of other machines", self._ranks.broken)
            self.session.meter_loss = self.session.meter_loss or self._ranks.broken


def speak(sentence: str) -> None:
    """Tell people on the terminal, above a progress bar if there is one.

    Training that waits for hours has to say so, whatever level its user logs at.
    """
    tqdm.write(f"carbon-trainer: {sentence}", file=sys.stderr)


def state_of(session: RunSession, tokens: int, **more: Any) -> dict[str, Any]:
    """Return what a checkpoint must carry of a run; plain types only."""
    return {**session.checkpoint_state(), "tokens": tokens, **more}


def _opened(
    config: RunConfig, resume: ResumePoint | None, ranks: NodeExchange | None
) -> RunSession:
    meter = None
    if ranks is not None and ranks.assignment is not None:
        meter = EnergyMeter(host=config.host_metering, gpus=ranks.assignment.gpus)
    return RunSession.open(config, resume=resume, entry="callback", meter=meter)
