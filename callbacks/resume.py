"""ExactResume: the state of every random generator, so that a resumed run is the same run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class ExactResume(Callback):
    """Keeps every rank's random state in checkpoints, which Lightning does not.

    Together with a data loader that has a state this makes a resumed run's losses the same, bit
    for bit, as those of a run that never stopped.
    """

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return all ranks' random states; called on all ranks together when one saves."""
        state = random_state()
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            states: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(states, state)
            return {"ranks": states}
        return {"ranks": [state]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the states; they are put in place when training starts."""
        self._states = state_dict.get("ranks")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put this rank's state in place, after everything else that draws random numbers."""
        states, self._states = self._states, None
        if states is not None and trainer.global_rank < len(states):
            restore_random_state(states[trainer.global_rank])


def random_state() -> dict[str, Any]:
    """Return this process's random state in types that torch loads with ``weights_only``."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(words), gauss],
        "numpy": [str(name), torch.tensor(np.asarray(keys, np.int64)), *rest],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put a state from ``random_state`` in place."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([rng_state.cpu() for rng_state in state["cuda"]])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    legacy = (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    np.random.set_state(legacy)  # noqa: NPY002
