"""RunRecorder: metering, a budget, the ledger and a report for a training loop of any kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsFloat, TypeVar, Unpack

from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.callbacks.loop.driver import LoopDriver
    from carbon_trainer.config import RunSettings
    from carbon_trainer.runs.accounting import Snapshot
    from carbon_trainer.runs.outcome import Outcome
    from carbon_trainer.runs.session import RunSession

Batch = TypeVar("Batch")

STOPPED = ("budget", "released", "interrupted")
"""How a run ends that has to leave its loop."""


class RunRecorder:
    """Records a training loop: a plain one, one on Lightning Fabric, one on Accelerate.

    Where there are several processes, each makes one, after they have met (``fabric.launch()``,
    ``Accelerator()``, ``init_process_group``). Process 0 keeps the record, all take the same steps,
    and all stop after the same one. It imports neither torch nor Lightning.

    Args:
        parameters: the model's, from which the time of the first checkpoint is estimated, so that
            a budget keeps room for it; later ones are timed.
        max_steps: optimizer steps that the loop does in all; needed with a deadline.
        formats: the report's: ``html``, ``md``, ``json``; none writes none.
        session: a run that the caller opened and will close; None to open one.
        executor: where plans are made; a thread of its own by default.
        remeasure: measure power settings even where an earlier run has.
        settings: budgets, grid, schedule and record, named as in RunConfig: see RunSettings.

    Raises:
        InputError: if a setting is unknown or does not fit.

    Example:
        with RunRecorder(budget_kwh=1, zone="GB") as run:
            for batch in run.steps(loader):
                train(batch)
    """

    def __init__(
        self,
        *,
        parameters: int = 0,
        max_steps: int | None = None,
        formats: Sequence[str] = ("html", "md", "json"),
        session: RunSession | None = None,
        executor: Executor | None = None,
        remeasure: bool = False,
        **settings: Unpack[RunSettings],
    ) -> None:
        from carbon_trainer.config import config_from_settings

        self._config = config_from_settings("RunRecorder", settings)
        self._max_steps = max_steps
        self._parameters = parameters
        self._given_session = session
        self._executor = executor
        self._remeasure = remeasure
        self._formats = tuple(formats)
        self._resumed: Mapping[str, Any] | None = None
        self._run: LoopDriver | None = None
        self._ended: LoopDriver | None = None
        self._step = _Step(self)

    # Life

    def start(self) -> None:
        """Open the run, or go on with the one whose state was loaded.

        Raises:
            InputError: if something that was given cannot be used, here or in process 0.
        """
        from carbon_trainer.callbacks.loop.driver import LoopDriver

        if self._run is not None:
            raise InputError("this RunRecorder is open already: close it, or make another.")
        resumed, self._resumed, self._ended = self._resumed, None, None
        self._run = LoopDriver(
            self._config,
            self._parameters,
            resumed,
            max_steps=self._max_steps,
            session=self._given_session,
            executor=self._executor,
            remeasure=self._remeasure,
        )

    def close(self, exception: BaseException | None = None) -> None:
        """Close the run and write its report; the first call counts.

        Args:
            exception: what ended the loop; None if it ended in an orderly way.
        """
        run, self._run = self._run, None
        if run is None:
            return
        if isinstance(exception, SystemExit) and not exception.code:
            exception = None
        self._ended = run
        session = run.close(exception)
        try:
            if session is not None and self._formats:
                from carbon_trainer.control.report import leave_report

                leave_report(session, self._formats)
        finally:
            run.release_signals()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)

    # The loop's part

    def steps(
        self, batches: Iterable[Batch], *, tokens: Callable[[Batch], int] | None = None
    ) -> Iterator[Batch]:
        """Yield batches, each a step, until there are no more or the run has to stop.

        Args:
            batches: a data loader, or anything that can be gone through.
            tokens: counts a batch's tokens; by default the elements of its ``input_ids``.
        """
        if self.should_stop:
            return
        count = tokens or tokens_in
        for batch in batches:
            with self.step(count(batch)):
                yield batch
            if self.should_stop:
                return

    def step(self, tokens: int = 0) -> _Step:
        """Return a context for one step; look at ``should_stop`` after it.

        Args:
            tokens: how many tokens this process trains on in it.
        """
        self._step.tokens = tokens
        return self._step

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record what is used within under a phase, such as ``validation``.

        A budget keeps room for the largest of each phase until now.

        Args:
            name: the phase.
        """
        run = self._run
        if run is None:
            yield
            return
        run.phase_begin(name)
        try:
            yield
        finally:
            run.phase_end(name)

    @contextmanager
    def checkpoint(self, path: str | Path) -> Iterator[None]:
        """Save a checkpoint within; it is timed, and recorded if it is there afterwards.

        Args:
            path: the file or folder that is written.
        """
        began_s = time.monotonic()
        with self.phase("checkpoint"):
            yield
        if self._run is not None:
            self._run.checkpoint_saved(Path(path), time.monotonic() - began_s)

    def log(
        self, *, loss: SupportsFloat | None = None, validation_loss: SupportsFloat | None = None
    ) -> None:
        """Note losses; a step's is read only each ``log_every`` steps, so no GPU is waited for.

        Args:
            loss: the last step's, a number or a tensor of one element.
            validation_loss: the last validation's.
        """
        if self._run is not None:
            self._run.log_losses(loss, validation_loss)

    # What it knows

    @property
    def should_stop(self) -> bool:
        """Whether to save and leave the loop; the same in every process.

        The budget is reached, the plan releases the machine, or a signal has come; ``outcome``
        says which. From the first time that this is asked on, Ctrl-C, SIGTERM, SIGUSR1 and
        SIGUSR2 are held, where the script handles them in no other way, until the run is closed:
        then they end the process as they would have.
        """
        if self._run is not None:
            self._run.hold_signals()
        outcome = self.outcome
        return outcome is not None and outcome.status in STOPPED

    @property
    def outcome(self) -> Outcome | None:
        """How the run ends, with the exit status that a command would have; None before."""
        run = self._run or self._ended
        return None if run is None else run.outcome

    @property
    def session(self) -> RunSession | None:
        """The run's record, open or closed; None before, and in processes that keep none."""
        run = self._run or self._ended
        return None if run is None else run.session

    @property
    def run_id(self) -> str | None:
        """The run's id; None before, and in processes that keep no record."""
        return None if self.session is None else self.session.run_id

    @property
    def run_dir(self) -> Path | None:
        """The folder of the run and its report; None before, and where no record is kept."""
        return None if self.session is None else self.session.run_dir

    def snapshot(self) -> Snapshot | None:
        """Return what the run has used until now; None before, and where no record is kept."""
        return None if self.session is None else self.session.snapshot()

    def metrics(self) -> dict[str, float]:
        """Return figures for a logger, names with units: those that Lightning's loggers get.

        What a step and a token used is the mean since the call before. Empty before the run, and
        where no record is kept.
        """
        return self._run.driver.metrics() if self._run is not None else {}

    # Its state, as Fabric, Accelerate and torch.save take it

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry, so that another start goes on with this run."""
        return self._run.state() if self._run is not None else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a checkpoint's run when this is opened.

        Raises:
            InputError: if it is open already.
        """
        if self._run is not None:
            raise InputError("load the checkpoint before the RunRecorder is opened: move it up.")
        self._resumed = dict(state) or None


class _Step:
    """The context of a step; one serves all, so that entering it makes nothing."""

    __slots__ = ("_recorder", "tokens")

    def __init__(self, recorder: RunRecorder) -> None:
        self._recorder = recorder
        self.tokens = 0

    def __enter__(self) -> None:
        run = self._recorder._run
        if run is not None:
            run.step_begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        run = self._recorder._run
        if run is None:
            return
        if kind is None:
            run.step_end(self.tokens)
        else:
            # What closes a generator does not say whether the loop was left by break.
            run.step_abandon(self.tokens if kind is GeneratorExit else None)


def tokens_in(batch: Any) -> int:
    """Return how many elements a batch's ``input_ids`` have; 0 where there are none."""
    ids = batch.get("input_ids") if isinstance(batch, Mapping) else None
    count = getattr(ids, "numel", None)
    return int(count()) if callable(count) else int(getattr(ids, "size", 0) or 0)
