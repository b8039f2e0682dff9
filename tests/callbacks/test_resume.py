"""A run that was stopped and resumed is the run that was not, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from carbon_trainer.runs.outcome import ResumePoint

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

STEPS = 30


def _fit(
    tmp_path: Path, stop_at: int | None = None, checkpoint: str | None = None, **options: Any
) -> tuple[list[float], str | None, dict[str, torch.Tensor]]:
    import torch

    from carbon_trainer.callbacks import CarbonAware
    from tests.callbacks.resume_helpers import StopAt
    from tests.callbacks.training import TinyModule, loader, session, trainer, validation_loader

    torch.manual_seed(5)
    resume = ResumePoint("r", checkpoint, 0) if checkpoint else None
    run = session(tmp_path, resume=resume)
    aware = CarbonAware(session=run)
    more = [StopAt(aware, stop_at)] if stop_at else []
    module = TinyModule()
    fitted = trainer(tmp_path, aware, *more, steps=STEPS, **options)
    fitted.fit(
        module, loader(), validation_loader(), ckpt_path=checkpoint,
        weights_only=True if checkpoint else None,
    )  # fmt: skip
    run.close()
    return module.losses, run.last_checkpoint, module.state_dict()


@pytest.mark.parametrize("stop_at", [1, 7, 12, 13])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 7, "check_val_every_n_epoch": None},
        {"val_check_interval": 4},
    ],
)
def test_losses_and_weights_are_those_of_an_uninterrupted_run(
    tmp_path: Path, options: dict[str, Any], stop_at: int
) -> None:
    import torch

    whole, _, weights = _fit(tmp_path / "whole", **options)
    first, checkpoint, _ = _fit(tmp_path / "first", stop_at, **options)
    assert checkpoint is not None
    rest, _, resumed_weights = _fit(tmp_path / "rest", checkpoint=checkpoint, **options)
    assert first + rest == whole
    assert all(torch.equal(weights[name], resumed_weights[name]) for name in weights)


def test_every_generator_goes_on_where_it_was() -> None:
    import random

    import torch

    from carbon_trainer.callbacks.resume import random_state, restore_random_state

    state = random_state()
    before = (torch.rand(3).tolist(), random.random(), np.random.rand())  # noqa: NPY002
    restore_random_state(state)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == before  # noqa: NPY002


def test_the_state_is_of_types_that_torch_loads_safely(tmp_path: Path) -> None:
    import torch

    from carbon_trainer.callbacks.resume import random_state, restore_random_state

    path = tmp_path / "state.pt"
    torch.save(random_state(), path)
    restore_random_state(torch.load(path, weights_only=True))
