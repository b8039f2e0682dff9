"""What all our callbacks have in common: settings, and a driver of the one run they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from carbon_trainer.callbacks.lightning_driver import LightningDriver
from carbon_trainer.callbacks.part import Part
from carbon_trainer.config import RunConfig
from carbon_trainer.control.failures import shielded

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from carbon_trainer.runs.session import RunSession


class CarbonCallback(Part, Callback):
    """Base of the callbacks that share one run.

    The first of them in a trainer's list opens the run when training starts (or takes the session
    that one was given), passes Lightning's hooks on to its driver, and closes it. The others are
    parts that add their abilities to the driver.

    Args:
        session: a run that the caller opened and will close; None to open one for each fit.
        settings: settings of the run, named as in RunConfig; None means not given.

    Raises:
        InputError: if a setting is unknown or does not fit.
    """

    def __init__(self, *, session: RunSession | None = None, **settings: Any) -> None:
        self.settings = {name: value for name, value in settings.items() if value is not None}
        self.given_session = session
        self.resumed_state: dict[str, Any] | None = None
        self._driver: LightningDriver | None = None
        RunConfig.from_sources((type(self).__name__, self.settings))

    @property
    def parts(self) -> list[CarbonCallback]:
        """The single-purpose callbacks that this one stands for: itself, or what it composes."""
        return [self]

    @property
    def run(self) -> RunSession | None:
        """The run that is under way; None before and after, and where nothing is recorded."""
        return self._driver.session if self._driver is not None else None

    # Lightning's hooks; only the first callback has a driver

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the run if this callback is the first of ours."""
        registered: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        members = [member for member in registered if isinstance(member, CarbonCallback)]
        if members[0] is self:
            parts = [part for member in members for part in member.parts]
            sessions = (m.given_session for m in members if m.given_session is not None)
            states = (m.resumed_state for m in members if m.resumed_state)
            self._driver = LightningDriver.open(
                trainer, parts, next(sessions, None), next(states, None)
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the training phase."""
        self._pass_on("train_start")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Mark the beginning of a step."""
        if self._driver is not None:
            self._driver.batch_start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Mark the end of a micro-batch, perhaps of a step."""
        if self._driver is not None:
            self._pass_on("batch_end", pl_module, outputs, batch, batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record from here on as validation."""
        if not trainer.sanity_checking:
            self._pass_on("validation_start")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record as training again."""
        if not trainer.sanity_checking:
            self._pass_on("validation_end")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has ended in an orderly way."""
        self._pass_on("train_end")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep what was recorded; teardown is not called after an exception."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close(exception)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the run."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close(None)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later segment of the run must know."""
        return self._driver.state() if self._driver is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of the segment before; used when training starts."""
        self.resumed_state = state_dict or None

    def _pass_on(self, event: str, *args: Any) -> None:
        """Pass an event on; our own bug never ends the user's training."""
        driver = self._driver
        if driver is not None:
            shielded(event, lambda: getattr(driver, event)(*args), driver.fail)
