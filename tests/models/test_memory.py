"""A training's memory is estimated, and what does not fit is refused with what would."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models import memory
from carbon_trainer.models.activations import FULL, HALF, MIXED, SAVED_BYTES
from carbon_trainer.models.build import build_model
from carbon_trainer.models.memory import TrainingSetup, check_training, estimate_memory
from carbon_trainer.models.recipes import Recipe, recipe, recipes
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    import torch

ON_GPU = TrainingSetup(
    vocab_size=50304, block_size=2048, batch_size=8, precision=MIXED, on_gpu=True
)
H100 = 80 * 1024**3
TINY = [
    name
    for name, model in recipes().items()
    if name.endswith("-tiny") and model.architecture in SAVED_BYTES
]


def _saved_bytes(model_recipe: Recipe, layers: int, batch: int, precision: str) -> int:
    """Count the bytes that autograd saves in one forward pass of a model."""
    import torch
    from transformers import AutoModelForCausalLM

    config = model_recipe.to_config(vocab_size=300, block_size=32)
    setattr(config, model_recipe.names["layers"], layers)
    dtype = torch.bfloat16 if precision == HALF else torch.float32
    make: Any = AutoModelForCausalLM.from_config
    model = make(config, dtype=dtype).train()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros((batch, 32), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == MIXED),
    ):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", [FULL, MIXED, HALF])
@pytest.mark.parametrize("name", TINY)
def test_a_layer_saves_the_bytes_that_are_counted_for_it(name: str, precision: str) -> None:
    model = recipe(name)
    assert model.shape is not None

    def bytes_per_token(layers: int) -> float:
        # A difference of two batches, in which copies of weights cancel out.
        small, large = (_saved_bytes(model, layers, batch, precision) for batch in (2, 4))
        return (large - small) / (2 * 32)

    counted = SAVED_BYTES[model.architecture][precision].bytes(model.shape, 32, fused=False)
    assert bytes_per_token(2) - bytes_per_token(1) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("name", [name for name in recipes() if recipe(name).shape is not None])
def test_state_is_four_numbers_a_parameter(name: str) -> None:
    estimate = estimate_memory(recipe(name), ON_GPU)
    assert estimate is not None
    assert estimate.state == 16 * recipe(name).parameters(50304)


def test_copies_of_a_model_need_room_to_exchange_gradients_and_shards_less_the_more_there_are() -> (
    None
):
    def state(ranks: int, *, sharded: bool) -> int:
        setup = TrainingSetup(vocab_size=50304, block_size=2048, batch_size=1, precision=FULL,
                      ranks=ranks, sharded=sharded)  # fmt: skip
        estimate = estimate_memory(recipe("gpt-neox-6.9b"), setup)
        assert estimate is not None
        return estimate.state

    parameters = recipe("gpt-neox-6.9b").parameters(50304)
    assert state(8, sharded=False) == 20 * parameters
    assert state(8, sharded=True) < state(4, sharded=True) < state(1, sharded=False)


def test_activations_grow_with_batch_and_block_and_scores_only_where_attention_is_not_fused() -> (
    None
):
    def activations(batch: int, block: int, *, on_gpu: bool) -> int:
        setup = TrainingSetup(vocab_size=300, block_size=block, batch_size=batch, precision=FULL,
                      on_gpu=on_gpu)  # fmt: skip
        estimate = estimate_memory(recipe("gpt2-124m"), setup)
        assert estimate is not None
        return estimate.activations

    twice = 2 * activations(1, 512, on_gpu=True)
    assert activations(2, 512, on_gpu=True) == activations(1, 1024, on_gpu=True) == twice
    assert activations(1, 1024, on_gpu=False) > 2 * activations(1, 512, on_gpu=False)


def test_what_fits_gives_no_warning() -> None:
    assert check_training("gpt-neox-410m", ON_GPU, H100) == ""


def test_what_does_not_fit_on_a_gpu_is_refused_with_what_would() -> None:
    with pytest.raises(InputError) as caught:
        check_training("gpt-neox-2.8b", ON_GPU, H100)
    message = str(caught.value)
    assert "the GPU has 85.9 GB" in message
    assert "--batch-size 2" in message
    assert "GPUs of this size with --strategy fsdp" in message
    assert "gpt-neox-1.4b, the largest of its family" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["gpt-neox-2.8b", "llama-13b", "opt-30b", "llama-3-70b"])
def test_what_the_message_offers_does_fit(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_training(name, ON_GPU, H100)
    options = str(caught.value).partition("what fits is ")[2].rstrip(".").split(", or ")
    for option in options:
        setup, fitting = ON_GPU, name
        if option.startswith("--"):
            flag, value = option.split()
            setup = replace(setup, **{flag[2:].replace("-", "_"): int(value)})
        elif "GPUs" in option:
            words = option.split()
            lower = dict(itertools.pairwise(words))
            setup = replace(
                setup,
                ranks=int(words[0]),
                sharded=True,
                batch_size=int(lower.get("--batch-size", setup.batch_size)),
                block_size=int(lower.get("--block-size", setup.block_size)),
            )
        else:
            fitting = option.partition(",")[0]
            setup = replace(setup, vocab_size=recipe(fitting).vocab_size)
        assert check_training(fitting, setup, H100) == ""


def test_what_is_within_the_uncertainty_gives_a_warning() -> None:
    estimate = estimate_memory(recipe("gpt-neox-1b"), ON_GPU)
    assert estimate is not None
    for available in (estimate.total, int(estimate.total * 1.1), int(estimate.total * 0.9)):
        assert "it may not fit" in check_training("gpt-neox-1b", ON_GPU, available)


@pytest.fixture
def four_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=4_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


@pytest.mark.slow
@pytest.mark.usefixtures("four_gb")
def test_a_model_whose_weights_do_not_fit_is_refused_before_it_is_built() -> None:
    with pytest.raises(InputError) as caught:
        build_model("gpt-neox-20b", vocab_size=50_432, block_size=16)
    message = str(caught.value)
    assert "20,554,567,680 parameters, 82.2 GB for its weights alone, and 4.0 GB" in message
    assert "gpt-neox-410m, the largest of its family" in message


@pytest.mark.usefixtures("four_gb")
def test_training_in_the_same_memory_takes_four_times_the_weights_and_more() -> None:
    setup = TrainingSetup(vocab_size=50_272, block_size=128, batch_size=1, precision=FULL)
    assert check_training("opt-125m", setup, memory.free_bytes()) == ""
    with pytest.raises(InputError) as caught:
        check_training("opt-350m", setup, memory.free_bytes())
    assert "5.3 GB of weights, gradients and AdamW's moments" in str(caught.value)
    assert "opt-125m, the largest of its family" in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("four_gb")
def test_where_activations_are_not_counted_weights_gradients_and_moments_have_to_fit() -> None:
    setup = TrainingSetup(vocab_size=32_128, block_size=128, batch_size=1, precision=FULL)
    assert estimate_memory(recipe("macaw-large"), setup) is None
    with pytest.raises(InputError, match=r"11\.8 GB for weights, .* alone, and 4\.0 GB"):
        check_training("macaw-large", setup, memory.free_bytes())
    assert check_training("macaw-large", setup, H100) == ""


def test_the_memory_of_the_smallest_gpu_in_use_counts() -> None:
    gpus = (SimulatedGpu("GPU-0"), SimulatedGpu("GPU-1"))
    with SimulatedNvml(*gpus).install():
        assert memory.gpu_bytes() is not None
    with SimulatedNvml().install():
        assert memory.gpu_bytes() is None
