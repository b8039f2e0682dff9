"""Checks of a run's settings before anything is recorded and before torch is imported."""

from __future__ import annotations

from carbon_trainer.clock import SystemClock
from carbon_trainer.config import RunConfig
from carbon_trainer.data.slots import NO_DATA, fields_of_slots, parse_angles
from carbon_trainer.distributed.environment import check_split_ranks, launched
from carbon_trainer.durations import deadline_of
from carbon_trainer.errors import InputError
from carbon_trainer.grid.forecasts import Forecasts
from carbon_trainer.grid.zones import ZoneFactors
from carbon_trainer.models.build import check_model_name, is_encoder_decoder
from carbon_trainer.models.lora import check_lora


def check_quickly(config: RunConfig) -> None:
    """Check what can be checked before anything heavy is imported or recorded.

    Raises:
        InputError: for an unknown zone or model, a missing path, or a number of devices that
            cannot be split evenly.
    """
    ZoneFactors().intensity(config.zone)
    check_model_name(config.model)
    devices, nodes = launched() or (config.devices, config.nodes)
    check_split_ranks(devices * nodes, config.tensor_parallel)
    _check_task(config)
    for path in config.data:
        if not path.exists():
            raise InputError(f"there is no file or folder {path} to train on.")


def _check_task(config: RunConfig) -> None:
    """Check the settings that depend on the kind of model."""
    if config.lora_rank is not None:
        check_lora(config.model, strategy=config.strategy)
    fields_of_slots(config.slots)
    if config.angles is not None:
        parse_angles(config.angles)
    has_slots = config.angles is not None or bool(config.slots)
    if config.data and not has_slots:
        # Either kind of model is valid here, and finding out which may import transformers.
        return
    if is_encoder_decoder(config.model):
        if not config.data:
            raise InputError(NO_DATA.format(model=config.model))
    elif has_slots:
        flag = "--slots" if config.angles is None else "--angles"
        raise InputError(
            f"{flag} is for encoder-decoders such as macaw-tiny, but {config.model} is a causal "
            f"model: omit {flag}."
        )


def check_schedule(config: RunConfig) -> None:
    """Check a new run's deadline, trace and provider before anything is recorded.

    A resumed run may be past its deadline.

    Raises:
        InputError: if the deadline is in the past, the trace does not cover the present, or the
            provider is unknown.
    """
    clock = SystemClock()
    deadline_ns = clock.now_ns() + 1
    if config.deadline is not None:
        deadline_ns = deadline_of(config.deadline, clock.now_ns())
    if config.trace is not None or config.provider is not None:
        Forecasts(config.zone, config.provider, config.trace, deadline_ns, clock)
