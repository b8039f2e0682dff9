"""Estimates how much memory a training takes, before it starts, and what would fit instead.

State: weights, gradients and AdamW's two moments, complete on each device or in shards.
Activations: see ``activations``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import psutil

from carbon_trainer.errors import InputError
from carbon_trainer.models.activations import FULL, HALF, MIXED, SAVED_BYTES
from carbon_trainer.models.recipes import Recipe, recipe, recipes
from carbon_trainer.models.shape import Shape

CPU_UNCERTAINTY = 0.05
"""Relative uncertainty of an estimate: on two CPU cores it was within 1 % (benchmarks/memory.py),
but the memory that other processes use varies too."""

GPU_UNCERTAINTY = 0.15
"""The same on a GPU, assumed: the fragmentation of its allocator and the workspaces of its kernels
are not known beforehand, and were not measured here."""

WEIGHT_BYTES = 4
"""Per weight when a model is built, in float32, before any precision is applied."""

LOGITS_BYTES = 12
"""Per token and entry of the vocabulary, in float32: log-probabilities, their gradient and that of
the logits (torch's cross_entropy)."""

DEVICE_BYTES = 1_000_000_000
"""On a GPU besides tensors: context, libraries' workspaces. Assumed."""

GATHERED_LAYERS = 2
"""Sharded layers that are gathered at a time: the current one and the next, which is prefetched."""

MAX_RANKS_LOG2 = 12
MIN_BLOCK = 128
"""Limits of what is advised: 4,096 GPUs, blocks of 128 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup:
    """The settings of a training that its memory depends on.

    Attributes:
        vocab_size: tokens in the vocabulary.
        block_size: length of a sequence, tokens.
        batch_size: sequences in a batch of one device.
        precision: Lightning's name of the precision.
        ranks: processes of the run on all machines.
        sharded: whether the model is sharded over them (fsdp) or complete on each.
        on_gpu: whether they train on GPUs.
    """

    vocab_size: int
    block_size: int
    batch_size: int
    precision: str
    ranks: int = 1
    sharded: bool = False
    on_gpu: bool = False

    @property
    def uncertainty(self) -> float:
        """Relative uncertainty of the estimate."""
        return GPU_UNCERTAINTY if self.on_gpu else CPU_UNCERTAINTY


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Estimated memory of one process, bytes.

    Attributes:
        state: weights, gradients, AdamW's moments, and buffers for exchanging them.
        copies: 16-bit copies of the weights, which mixed precision keeps until the backward pass.
        activations: saved by the layers for the backward pass.
        logits: the last layer's, with their gradients.
        step: temporary memory of AdamW's step, when activations are freed already.
        device: on a GPU besides tensors.
    """

    state: int
    copies: int
    activations: int
    logits: int
    step: int
    device: int

    @property
    def total(self) -> int:
        """The peak."""
        return (
            self.state + max(self.copies + self.activations + self.logits, self.step) + self.device
        )


def estimate_memory(model: Recipe, setup: TrainingSetup) -> MemoryEstimate | None:
    """Estimate what a training takes; None for an architecture that is not counted here."""
    shape = model.shape
    if shape is None or shape.architecture not in SAVED_BYTES:
        return None
    half = setup.precision == HALF
    mixed = setup.precision.endswith("-mixed")
    value_bytes = 2 if half else 4
    parameters = shape.parameters(setup.vocab_size)
    saved = SAVED_BYTES[shape.architecture][HALF if half else MIXED if mixed else FULL]
    tokens = setup.batch_size * setup.block_size
    layer_bytes = saved.bytes(shape, setup.block_size, fused=setup.on_gpu)
    local_parameters = -(-parameters // setup.ranks) if setup.sharded else parameters
    copied_parameters = _gathered(shape, setup) if setup.sharded else parameters
    return MemoryEstimate(
        state=value_bytes * (4 * local_parameters + _exchanged(shape, setup)),
        copies=2 * copied_parameters if mixed else 0,
        # Beside the layers: the embeddings' output and the last norm's.
        activations=tokens * (shape.layers * layer_bytes + 2 * value_bytes * shape.width),
        logits=tokens * setup.vocab_size * LOGITS_BYTES,
        # torch's AdamW steps all weights at once on GPUs and one by one on CPUs.
        step=value_bytes * local_parameters if setup.on_gpu else 0,
        device=DEVICE_BYTES if setup.on_gpu else 0,
    )


def _gathered(shape: Shape, setup: TrainingSetup) -> int:
    """Return the parameters that are gathered on a device where the others are in shards."""
    return GATHERED_LAYERS * shape.layer_parameters() + shape.other_parameters(setup.vocab_size)


def _exchanged(shape: Shape, setup: TrainingSetup) -> int:
    """Return the values held for exchange: gathered layers with gradients, or DDP's buckets."""
    if setup.ranks == 1:
        return 0
    if setup.sharded:
        return 2 * _gathered(shape, setup)
    # DDP copies every gradient into a bucket, and keeps the buckets.
    return shape.parameters(setup.vocab_size)


def check_weights(name: str, vocab_size: int) -> None:
    """Refuse a model for which the system would kill this process, which leaves no message.

    Raises:
        InputError: if its weights alone do not fit into free memory.
    """
    weights, available = WEIGHT_BYTES * recipe(name).parameters(vocab_size), free_bytes()
    if weights > available:
        fits = _largest(name, lambda model: WEIGHT_BYTES * model.parameters() <= available)
        raise InputError(
            f"the model {name} has {weights // WEIGHT_BYTES:,} parameters, {_gb(weights)} for its "
            f"weights alone, and {_gb(available)} of memory are free: "
            f"use {fits or 'a smaller one'}."
        )


def check_training(name: str, setup: TrainingSetup, available: int) -> str:
    """Compare the estimated memory of a recipe's training with that of a device.

    Args:
        name: the recipe's.
        setup: how it is to be trained.
        available: memory for one process, bytes: the GPU's, or its share of what is free.

    Returns:
        A warning where it is within the uncertainty, else nothing.

    Raises:
        InputError: if it does not fit even at the lower end of the uncertainty, with what would.
    """
    estimate = estimate_memory(recipe(name), setup)
    if setup.on_gpu:
        available_text = f"the GPU has {_gb(available)}"
    else:
        available_text = f"{_gb(available)} of memory are free for it"
    if estimate is None:
        _check_state(name, setup, available, available_text)
        return ""
    if estimate.total * (1 + setup.uncertainty) <= available:
        return ""
    estimate_text = (
        f"training {name} will take about {_gb(estimate.total)} ({_gb(estimate.state)} of weights, "
        f"gradients and AdamW's moments, {_gb(estimate.activations)} of activations, "
        f"{_gb(estimate.logits)} of logits) in each process"
    )
    if estimate.total * (1 - setup.uncertainty) <= available:
        return f"{estimate_text}, ± {setup.uncertainty:.0%}, and {available_text}: it may not fit."
    advice = _fitting_setups(name, setup, available)
    raise InputError(f"{estimate_text}, and {available_text}: {advice}.")


def _check_state(name: str, setup: TrainingSetup, available: int, available_text: str) -> None:
    """Refuse what does not fit even without its activations, where these are not counted."""
    parameters = recipe(name).parameters(setup.vocab_size)
    value_bytes = 2 if setup.precision == HALF else 4
    state = 4 * value_bytes * parameters // (setup.ranks if setup.sharded else 1)
    if state > available:
        raise InputError(
            f"training {name} will take {_gb(state)} for weights, gradients and AdamW's moments "
            f"alone, and {available_text}: use a smaller model, or more devices with --strategy "
            "fsdp."
        )


def _fitting_setups(name: str, setup: TrainingSetup, available: int) -> str:
    """Describe what would fit: smaller batches or blocks, more devices, a smaller recipe."""
    requested = recipe(name)

    def fits(setup: TrainingSetup, model: Recipe = requested) -> bool:
        estimate = estimate_memory(model, setup)
        return estimate is not None and estimate.total * (1 + setup.uncertainty) <= available

    def halved(field: str, minimum: int, start: TrainingSetup = setup) -> TrainingSetup:
        smaller = start
        while not fits(smaller) and getattr(smaller, field) // 2 >= minimum:
            smaller = replace(smaller, **{field: getattr(smaller, field) // 2})
        return smaller

    options = []
    for field, minimum in (("batch_size", 1), ("block_size", MIN_BLOCK)):
        smaller = halved(field, minimum)
        if fits(smaller):
            options.append(_flag(field, smaller))
    if setup.on_gpu:
        counts = (2**n for n in range(1, MAX_RANKS_LOG2 + 1))
        sharded = [
            replace(setup, ranks=ranks, sharded=True) for ranks in counts if ranks >= setup.ranks
        ]
        # More GPUs first, with the batch as it is: only then smaller batches, then shorter blocks.
        reduced = [
            halved("block_size", MIN_BLOCK, halved("batch_size", 1, start)) for start in sharded
        ]
        fitting = next((option for option in (*sharded, *reduced) if fits(option)), None)
        if fitting is not None:
            flags = [
                f" {_flag(field, fitting)}"
                for field in ("batch_size", "block_size")
                if getattr(fitting, field) != getattr(setup, field)
            ]
            options.append(
                f"{fitting.ranks} GPUs of this size with --strategy fsdp{''.join(flags)}"
            )
    largest = _largest(name, lambda model: fits(replace(setup, vocab_size=model.vocab_size), model))
    options += [largest] if largest else []
    return f"what fits is {', or '.join(options)}" if options else "use a smaller model"


def _flag(field: str, setup: TrainingSetup) -> str:
    return f"--{field.replace('_', '-')} {getattr(setup, field)}"


def _largest(name: str, fits: Callable[[Recipe], bool]) -> str:
    """Name the largest recipe of a family that fits with its own vocabulary; empty if none."""
    family = recipe(name).family
    fitting = {key: model for key, model in recipes().items() if model.family == family}
    fitting = {key: model for key, model in fitting.items() if fits(model)}
    if not fitting:
        return ""
    largest = max(fitting, key=lambda key: fitting[key].parameters())
    return f"{largest}, the largest of its family"


def free_bytes() -> int:
    """Return the free memory of this machine, bytes."""
    return int(psutil.virtual_memory().available)


def gpu_bytes() -> int | None:
    """Return the memory of the smallest GPU that this process may use; None if unknown.

    It is unknown for a slice of a GPU (MIG), where NVML reports the memory of the whole GPU.
    """
    from carbon_trainer.energy.sources.nvml import describe_nvml

    gpus = [gpu for gpu in describe_nvml().gpus if gpu.visible]
    if not gpus or any(gpu.mig or not gpu.memory_bytes for gpu in gpus):
        return None
    return min(gpu.memory_bytes for gpu in gpus)


def _gb(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
