"""CarbonAware for scripts that do not know of it: added to a trainer as the environment asks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.callbacks.carbon_aware import CarbonAware
from carbon_trainer.errors import CarbonTrainerError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

log = logging.getLogger(__name__)


class AutoRegister(Callback):
    """Adds CarbonAware to a trainer when it starts to fit, unless one of our callbacks is there.

    It has no state and is not CarbonAware itself: a list of callbacks that a script gives to two
    trainers then has it twice, which Lightning refuses of callbacks with a state.

    Args:
        settings: CarbonAware's arguments.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add it, before a checkpoint's state is handed out and before what saves checkpoints."""
        registered: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if stage != "fit" or any(isinstance(callback, CarbonCallback) for callback in registered):
            return
        savers = trainer.checkpoint_callbacks
        place = registered.index(savers[0]) if savers else len(registered)
        registered.insert(place, AutoCarbonAware(**self._settings))


class AutoCarbonAware(CarbonAware):
    """CarbonAware that never ends a training whose script has not asked for it.

    What cannot be done is said in one sentence, and training goes on without.
    """

    @property
    def state_key(self) -> str:
        """Share checkpoints with scripts that name CarbonAware themselves."""
        return CarbonAware.__qualname__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the run, if that can be done."""
        try:
            super().on_fit_start(trainer, pl_module)
        except Exception as error:
            if trainer.is_global_zero:
                log.warning("this training is neither metered nor under a budget: %s", error)
            log.debug("opening a run", exc_info=True)
        else:
            if self.run is not None:
                # Through Lightning's own logger: a script that does not know of us shows it.
                rank_zero_info("carbon-trainer records this training in %s", self.run.run_dir)

    def _pass_on(self, event: str, *args: Any) -> None:
        """Pass an event on; a setting that does not fit does not end training either."""
        try:
            super()._pass_on(event, *args)
        except CarbonTrainerError as error:
            if self._driver is not None:
                self._driver.fail(event, error)
