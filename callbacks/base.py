"""What all our callbacks have in common: settings, and a lead that drives the one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.config import RunConfig
from carbon_trainer.control.failures import shielded

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.callbacks.lightning_driver import Lead
    from carbon_trainer.control.actions import Action
    from carbon_trainer.runs.session import RunSession


class CarbonCallback(Callback):
    """Base of the callbacks that share one run.

    The first of them in a trainer's list leads: it opens the run when training starts (or takes
    the session it was given), tells it what happens, and closes it. The others are asked by it.

    Args:
        session: a run that somebody else opened and will close; None to open one for each fit.
        settings: settings of the run, named as in RunConfig; None means not given.

    Raises:
        InputError: if a setting is unknown or does not fit.
    """

    def __init__(self, *, session: RunSession | None = None, **settings: Any) -> None:
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.given_session = session
        self.resumed_state: dict[str, Any] | None = None
        self._lead: Lead | None = None
        RunConfig.from_sources((type(self).__name__, self.settings))

    @property
    def parts(self) -> list[CarbonCallback]:
        """The single-purpose callbacks that this one stands for: itself, or what it composes."""
        return [self]

    # What a part does; each is asked by the lead

    def began(self, lead: Lead, trainer: Trainer) -> None:
        """Training is about to start."""

    def joined(self, lead: Lead, trainer: Trainer) -> None:
        """Training is about to start; called on every rank, also where nothing is recorded."""

    def step_done(self, lead: Lead, trainer: Trainer, batch_index: int) -> None:
        """An optimizer step has ended; called on every rank, after each one."""

    def signal(self) -> int:
        """Return the number of a signal that this rank has received; 0 for none."""
        return 0

    @property
    def ahead_mj(self) -> int:
        """What a step and the end of the run will use, as far as is known, millijoules."""
        return 0

    def propose(self, lead: Lead, trainer: Trainer, batch_index: int) -> Action | None:
        """Say what should be done now, on the rank that records; None for going on.

        The first part's proposal is obeyed, on all ranks. While training is paused it is asked
        about twice a second.
        """
        return None

    def most_steps(self, lead: Lead, trainer: Trainer, wanted: int) -> int:
        """Return how many steps may be done until it must be asked again, up to ``wanted``."""
        return wanted

    def power(self, lead: Lead, share: float, means: str) -> None:
        """Train at a power setting from now on; called on every rank."""

    def metrics(self, session: RunSession) -> dict[str, float]:
        """Return figures for the trainer's loggers, names with units."""
        return {}

    def left(self) -> None:
        """Training is over, in whatever way; called on every rank."""

    def closed(self, session: RunSession) -> None:
        """The run was closed by the lead."""

    # Lightning's hooks; only the leading callback has a lead

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the run if this callback leads."""
        from carbon_trainer.callbacks.lightning_driver import Lead

        registered: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        members = [member for member in registered if isinstance(member, CarbonCallback)]
        if members[0] is self and trainer.is_global_zero:
            self._lead = Lead.open(trainer, members)
        elif members[0] is self:
            self._lead = Lead.follower(trainer, members)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the training phase."""
        self._tell("train_start", trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Mark the beginning of a step."""
        if self._lead is not None:
            self._lead.batch_start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Mark the end of a micro-batch, perhaps of a step."""
        if self._lead is not None:
            self._tell("batch_end", trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Book from here on as validation."""
        if not trainer.sanity_checking:
            self._tell("validation_start")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Book as training again."""
        if not trainer.sanity_checking:
            self._tell("validation_end", trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has ended in an orderly way."""
        self._tell("train_end", trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep what was recorded; teardown is not called after an exception."""
        lead, self._lead = self._lead, None
        if lead is not None:
            lead.close(trainer, exception)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the run."""
        lead, self._lead = self._lead, None
        if lead is not None:
            lead.close(trainer, None)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later segment of the run must know."""
        return self._lead.state() if self._lead is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of the segment before; used when training starts."""
        self.resumed_state = state_dict or None

    def _tell(self, event: str, *args: Any) -> None:
        """Pass an event on; our own bug never ends the user's training."""
        lead = self._lead
        if lead is not None:
            shielded(event, lambda: getattr(lead, event)(*args), lead.failed)
