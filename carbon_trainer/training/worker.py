"""A run's further processes: they train, record nothing and decide nothing."""

from __future__ import annotations

import logging

from carbon_trainer.config import ResolvedConfig
from carbon_trainer.runs.outcome import ResumePoint
from carbon_trainer.runs.signals import Interrupts
from carbon_trainer.training.setup import build_module, prepare_data

log = logging.getLogger(__name__)


def train_as_worker(
    config: ResolvedConfig, interrupts: Interrupts, resume: ResumePoint | None
) -> None:
    """Train as one of a run's further processes.

    Args:
        config: the settings, the same as the first process has.
        interrupts: where signals are noted.
        resume: where to resume; None for a new run.
    """
    from carbon_trainer.training.trainer import CarbonTrainer, train

    data = prepare_data(config, log.debug, lambda: None)
    module, _ = build_module(config, data)
    trainer = CarbonTrainer(config, interrupts=interrupts, is_worker=True, logger=False)
    train(trainer, module, data, config, interrupts, resume)
