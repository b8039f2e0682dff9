"""What is found wrong with a run before anything of it is recorded or torch imported."""

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
    """Find what can be found wrong before anything heavy is imported or recorded.

    Raises:
        InputError: for an unknown zone or model, a path that is not there, or devices that do not
            come out even.
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
    """Find settings that do not go with the kind of the model."""
    if config.lora_rank is not None:
        check_lora(config.model, strategy=config.strategy)
    fields_of_slots(config.slots)
    if config.angles is not None:
        parse_angles(config.angles)
    has_slots = config.angles is not None or bool(config.slots)
    if config.data and not has_slots:
        return  # either kind of model would do, and to ask may import transformers
    if is_encoder_decoder(config.model):
        if not config.data:
            raise InputError(NO_DATA.format(model=config.model))
    elif has_slots:
        flag = "--slots" if config.angles is None else "--angles"
        raise InputError(
            f"{flag} is for encoder-decoders such as macaw-tiny, and {config.model} is a causal "
            "model, which learns whole texts: leave it out."
        )


def check_schedule(config: RunConfig) -> None:
    """Find a new run's deadline, trace or provider wrong before anything is recorded.

    A run that goes on may do so after its deadline.

    Raises:
        InputError: if the deadline lies in the past, the trace tells nothing of now, or there is
            no such provider.
    """
    clock = SystemClock()
    deadline_ns = clock.now_ns() + 1
    if config.deadline is not None:
        deadline_ns = deadline_of(config.deadline, clock.now_ns())
    if config.trace is not None or config.provider is not None:
        Forecasts(config.zone, config.provider, config.trace, deadline_ns, clock)
