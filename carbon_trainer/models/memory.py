"""How much memory a training takes, foretold before it starts, and what would fit instead.

State: weights, gradients and AdamW's two moments, whole on each device or in shards. Activations:
see ``activations``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import psutil

from carbon_trainer.errors import InputError
from carbon_trainer.models.activations import FULL, HALF, KEPT, MIXED
from carbon_trainer.models.recipes import Recipe, recipe, recipes
from carbon_trainer.models.shape import Shape

CPU_UNCERTAINTY = 0.05
"""How far what a training takes may lie from what is foretold, as a share: on two CPU cores it
was within 1 % (benchmarks/memory.py); the system's other uses move besides."""

GPU_UNCERTAINTY = 0.15
"""The same on a GPU, assumed: its allocator's fragments and its kernels' workspaces are not known
beforehand, and were not measured here."""

WEIGHT_BYTES = 4
"""Of a weight as models are made, before any precision is chosen."""

LOGITS_BYTES = 12
"""Of a token and word of the vocabulary, in float32: log-probabilities, their gradient and the
logits' (torch's cross_entropy)."""

DEVICE_BYTES = 1_000_000_000
"""Taken on a GPU beside tensors: context, libraries' workspaces. Assumed."""

GATHERED_LAYERS = 2
"""Sharded layers that are whole on each device at a time: the one at work and the next."""

MOST_RANKS_LOG2 = 12
SHORTEST_BLOCK = 128
"""How far advice goes: 4,096 GPUs, blocks of 128 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A training, as far as memory goes.

    Attributes:
        vocab_size: tokens in the vocabulary.
        block_size: length of a sequence, tokens.
        batch_size: sequences in a batch of one device.
        precision: Lightning's name of the arithmetic.
        ranks: processes of the run, all machines together.
        sharded: whether they share the model (fsdp) or each have all of it.
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
        """How far what is foretold may lie from what it takes, as a share."""
        return GPU_UNCERTAINTY if self.on_gpu else CPU_UNCERTAINTY


@dataclass(frozen=True, slots=True)
class Need:
    """What one process takes, bytes.

    Attributes:
        state: weights, gradients, AdamW's moments, and copies of them for exchange.
        copies: 16-bit copies of the weights, which mixed precision keeps until the backward pass.
        activations: kept by the layers for the backward pass.
        logits: of the last layer, with their gradients.
        step: what AdamW needs besides, while no activations are kept.
        device: taken on a GPU beside tensors.
    """

    state: int
    copies: int
    activations: int
    logits: int
    step: int
    device: int

    @property
    def total(self) -> int:
        """The most at any time."""
        return (
            self.state + max(self.copies + self.activations + self.logits, self.step) + self.device
        )


def need_of(chosen: Recipe, setup: Setup) -> Need | None:
    """Foretell what a training takes; None for an architecture that is not counted here."""
    shape = chosen.shape
    if shape is None or shape.architecture not in KEPT:
        return None
    half = setup.precision == HALF
    mixed = setup.precision.endswith("-mixed")
    each = 2 if half else 4
    parameters = shape.parameters(setup.vocab_size)
    kept = KEPT[shape.architecture][HALF if half else MIXED if mixed else FULL]
    tokens = setup.batch_size * setup.block_size
    layer = kept.bytes(shape, setup.block_size, fused=setup.on_gpu)
    held = parameters if not setup.sharded else -(-parameters // setup.ranks)
    return Need(
        state=4 * each * held + each * _whole(shape, setup),
        copies=2 * (_gathered(shape, setup) if setup.sharded else parameters) if mixed else 0,
        activations=tokens * (shape.layers * layer + 2 * each * shape.width),
        logits=tokens * setup.vocab_size * LOGITS_BYTES,
        # torch's AdamW steps all weights at once on GPUs and one by one on CPUs.
        step=each * held if setup.on_gpu else 0,
        device=DEVICE_BYTES if setup.on_gpu else 0,
    )


def _gathered(shape: Shape, setup: Setup) -> int:
    """Return the parameters that are whole on a device where the others are in shards."""
    return GATHERED_LAYERS * shape.layer_parameters() + shape.other_parameters(setup.vocab_size)


def _whole(shape: Shape, setup: Setup) -> int:
    """Return the parameters held besides: gathered ones with gradients, or for exchange."""
    if setup.ranks == 1:
        return 0
    if setup.sharded:
        return 2 * _gathered(shape, setup)
    return shape.parameters(setup.vocab_size)


def check_weights(name: str, vocab_size: int) -> None:
    """Refuse a model that the system would kill us for making, which leaves no message.

    Raises:
        InputError: if its weights alone do not fit into free memory.
    """
    weights, there = WEIGHT_BYTES * recipe(name).parameters(vocab_size), free_bytes()
    if weights > there:
        fits = _largest(name, lambda one: WEIGHT_BYTES * one.parameters() <= there)
        raise InputError(
            f"the model {name} has {weights // WEIGHT_BYTES:,} parameters, {_gb(weights)} for its "
            f"weights alone, and {_gb(there)} of memory are free: {fits or 'take a smaller one'}."
        )


def check_training(name: str, setup: Setup, there: int) -> str:
    """Hold what a recipe's training will take against the memory of a device.

    Args:
        name: the recipe's.
        setup: how it is to be trained.
        there: memory for one process, bytes: the GPU's, or its share of what is free.

    Returns:
        A warning where it is too close to say, else nothing.

    Raises:
        InputError: if it does not fit even if less is taken than is foretold, with what would.
    """
    need = need_of(recipe(name), setup)
    have = (
        f"the GPU has {_gb(there)}" if setup.on_gpu else f"{_gb(there)} of memory are free for it"
    )
    if need is None:
        _check_state(name, setup, there, have)
        return ""
    if need.total * (1 + setup.uncertainty) <= there:
        return ""
    told = (
        f"training {name} will take about {_gb(need.total)} ({_gb(need.state)} of weights, "
        f"gradients and AdamW's moments, {_gb(need.activations)} of activations, "
        f"{_gb(need.logits)} of logits) in each process"
    )
    if need.total * (1 - setup.uncertainty) <= there:
        return f"{told}, give or take {setup.uncertainty:.0%}, and {have}: it may not fit."
    raise InputError(f"{told}, and {have}: {_what_fits(name, setup, there)}.")


def _check_state(name: str, setup: Setup, there: int, have: str) -> None:
    """Refuse what does not fit even without its activations, where these are not counted."""
    parameters = recipe(name).parameters(setup.vocab_size)
    each = 2 if setup.precision == HALF else 4
    state = 4 * each * parameters // (setup.ranks if setup.sharded else 1)
    if state > there:
        raise InputError(
            f"training {name} will take {_gb(state)} for weights, gradients and AdamW's moments "
            f"alone, and {have}: take a smaller model, or more devices with --strategy fsdp."
        )


def _what_fits(name: str, setup: Setup, there: int) -> str:
    """Say what would fit: smaller batches or blocks, more devices, a smaller recipe."""
    chosen = recipe(name)

    def fits(setup: Setup, one: Recipe = chosen) -> bool:
        need = need_of(one, setup)
        return need is not None and need.total * (1 + setup.uncertainty) <= there

    def halved(setting: str, least: int, now: Setup = setup) -> Setup:
        while not fits(now) and getattr(now, setting) // 2 >= least:
            now = replace(now, **{setting: getattr(now, setting) // 2})
        return now

    ways = []
    for setting, least in (("batch_size", 1), ("block_size", SHORTEST_BLOCK)):
        smaller = halved(setting, least)
        if fits(smaller):
            ways.append(f"--{setting.replace('_', '-')} {getattr(smaller, setting)}")
    if setup.on_gpu:
        spread = [replace(setup, ranks=2**n, sharded=True) for n in range(1, MOST_RANKS_LOG2 + 1)]
        whole = [one for one in spread if one.ranks >= setup.ranks]
        fewer = [
            halved("block_size", SHORTEST_BLOCK, halved("batch_size", 1, one)) for one in whole
        ]
        found = next((one for one in (*whole, *fewer) if fits(one)), None)
        if found is not None:
            changed = "".join(
                f" --{setting.replace('_', '-')} {getattr(found, setting)}"
                for setting in ("batch_size", "block_size")
                if getattr(found, setting) != getattr(setup, setting)
            )
            ways.append(f"{found.ranks} GPUs of this size with --strategy fsdp{changed}")
    largest = _largest(name, lambda one: fits(replace(setup, vocab_size=one.vocab_size), one))
    ways += [largest] if largest else []
    return f"what fits is {', or '.join(ways)}" if ways else "take a smaller model"


def _largest(name: str, fits: Callable[[Recipe], bool]) -> str:
    """Name the largest of a family that fits, each with its own vocabulary; nothing if none."""
    family = recipe(name).family
    fitting = [n for n, one in recipes().items() if one.family == family and fits(one)]
    if not fitting:
        return ""
    largest = max(fitting, key=lambda one: recipe(one).parameters())
    return f"{largest}, the largest of its kind"


def free_bytes() -> int:
    """Return how much memory is free, bytes."""
    return int(psutil.virtual_memory().available)


def gpu_bytes() -> int | None:
    """Return the memory of the smallest GPU that this process may use; None if not told.

    A slice of a card is left out: NVML tells the whole card's.
    """
    from carbon_trainer.energy.sources.nvml import describe_nvml

    seen = [gpu for gpu in describe_nvml().gpus if gpu.visible]
    if not seen or any(gpu.mig or not gpu.memory_bytes for gpu in seen):
        return None
    return min(gpu.memory_bytes for gpu in seen)


def _gb(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
