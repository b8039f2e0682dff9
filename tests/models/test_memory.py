"""What a training takes is foretold, and what does not fit is refused with what would."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models import memory
from carbon_trainer.models.activations import FULL, HALF, KEPT, MIXED
from carbon_trainer.models.build import build_model
from carbon_trainer.models.memory import Setup, check_training, need_of
from carbon_trainer.models.recipes import Recipe, recipe, recipes
from tests.simulation.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    import torch

ON_GPU = Setup(vocab_size=50304, block_size=2048, batch_size=8, precision=MIXED, on_gpu=True)
H100 = 80 * 1024**3
TINY = [n for n, one in recipes().items() if n.endswith("-tiny") and one.architecture in KEPT]


def _kept_bytes(chosen: Recipe, layers: int, batch: int, precision: str) -> int:
    """Count what autograd keeps of a model in one forward pass."""
    import torch
    from transformers import AutoModelForCausalLM

    config = chosen.to_config(vocab_size=300, block_size=32)
    setattr(config, chosen.names["layers"], layers)
    dtype = torch.bfloat16 if precision == HALF else torch.float32
    make: Any = AutoModelForCausalLM.from_config
    model = make(config, dtype=dtype).train()
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros((batch, 32), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == MIXED),
    ):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", [FULL, MIXED, HALF])
@pytest.mark.parametrize("name", TINY)
def test_a_layer_keeps_the_bytes_that_are_counted_for_it(name: str, precision: str) -> None:
    chosen = recipe(name)
    assert chosen.shape is not None

    def of(layers: int) -> float:
        # By tokens, so that copies of weights, which are there once, fall out.
        one, two = (_kept_bytes(chosen, layers, batch, precision) for batch in (2, 4))
        return (two - one) / (2 * 32)

    counted = KEPT[chosen.architecture][precision].bytes(chosen.shape, 32, fused=False)
    assert of(2) - of(1) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("name", [name for name in recipes() if recipe(name).shape is not None])
def test_state_is_four_numbers_a_parameter(name: str) -> None:
    need = need_of(recipe(name), ON_GPU)
    assert need is not None
    assert need.state == 16 * recipe(name).parameters(50304)


def test_copies_of_a_model_need_room_to_exchange_gradients_and_shards_less_the_more_there_are() -> (
    None
):
    def state(ranks: int, *, sharded: bool) -> int:
        setup = Setup(vocab_size=50304, block_size=2048, batch_size=1, precision=FULL,
                      ranks=ranks, sharded=sharded)  # fmt: skip
        need = need_of(recipe("gpt-neox-6.9b"), setup)
        assert need is not None
        return need.state

    parameters = recipe("gpt-neox-6.9b").parameters(50304)
    assert state(8, sharded=False) == 20 * parameters
    assert state(8, sharded=True) < state(4, sharded=True) < state(1, sharded=False)


def test_activations_grow_with_batch_and_block_and_scores_only_where_attention_is_not_fused() -> (
    None
):
    def kept(batch: int, block: int, *, on_gpu: bool) -> int:
        setup = Setup(vocab_size=300, block_size=block, batch_size=batch, precision=FULL,
                      on_gpu=on_gpu)  # fmt: skip
        need = need_of(recipe("gpt2-124m"), setup)
        assert need is not None
        return need.activations

    assert kept(2, 512, on_gpu=True) == kept(1, 1024, on_gpu=True) == 2 * kept(1, 512, on_gpu=True)
    assert kept(1, 1024, on_gpu=False) > 2 * kept(1, 512, on_gpu=False)


def test_what_fits_is_not_spoken_of() -> None:
    assert check_training("gpt-neox-410m", ON_GPU, H100) == ""


def test_what_does_not_fit_on_a_gpu_is_refused_with_what_would() -> None:
    with pytest.raises(InputError) as caught:
        check_training("gpt-neox-2.8b", ON_GPU, H100)
    said = str(caught.value)
    assert "the GPU has 85.9 GB" in said
    assert "--batch-size 2" in said
    assert "GPUs of this size with --strategy fsdp" in said
    assert "gpt-neox-1.4b, the largest of its kind" in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["gpt-neox-2.8b", "llama-13b", "opt-30b", "llama-3-70b"])
def test_what_is_said_to_fit_does(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_training(name, ON_GPU, H100)
    ways = str(caught.value).partition("what fits is ")[2].rstrip(".").split(", or ")
    for way in ways:
        setup, chosen = ON_GPU, name
        if way.startswith("--"):
            flag, value = way.split()
            setup = replace(setup, **{flag[2:].replace("-", "_"): int(value)})
        elif "GPUs" in way:
            words = way.split()
            lower = dict(itertools.pairwise(words))
            setup = replace(
                setup,
                ranks=int(words[0]),
                sharded=True,
                batch_size=int(lower.get("--batch-size", setup.batch_size)),
                block_size=int(lower.get("--block-size", setup.block_size)),
            )
        else:
            chosen = way.partition(",")[0]
            setup = replace(setup, vocab_size=recipe(chosen).vocab_size)
        assert check_training(chosen, setup, H100) == ""


def test_what_is_too_close_to_say_is_a_warning() -> None:
    need = need_of(recipe("gpt-neox-1b"), ON_GPU)
    assert need is not None
    for there in (need.total, int(need.total * 1.1), int(need.total * 0.9)):
        assert "it may not fit" in check_training("gpt-neox-1b", ON_GPU, there)


@pytest.fixture
def four_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=4_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)


@pytest.mark.slow
@pytest.mark.usefixtures("four_gb")
def test_a_model_whose_weights_do_not_fit_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError) as caught:
        build_model("gpt-neox-20b", vocab_size=50_432, block_size=16)
    message = str(caught.value)
    assert "20,554,567,680 parameters, 82.2 GB for its weights alone, and 4.0 GB" in message
    assert "gpt-neox-410m, the largest of its kind" in message


@pytest.mark.usefixtures("four_gb")
def test_training_in_the_same_memory_takes_four_times_the_weights_and_more() -> None:
    setup = Setup(vocab_size=50_272, block_size=128, batch_size=1, precision=FULL)
    assert check_training("opt-125m", setup, memory.free_bytes()) == ""
    with pytest.raises(InputError) as caught:
        check_training("opt-350m", setup, memory.free_bytes())
    assert "5.3 GB of weights, gradients and AdamW's moments" in str(caught.value)
    assert "opt-125m, the largest of its kind" in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("four_gb")
def test_where_activations_are_not_counted_weights_gradients_and_moments_have_to_fit() -> None:
    setup = Setup(vocab_size=32_128, block_size=128, batch_size=1, precision=FULL)
    assert need_of(recipe("macaw-large"), setup) is None
    with pytest.raises(InputError, match=r"11\.8 GB for weights, .* alone, and 4\.0 GB"):
        check_training("macaw-large", setup, memory.free_bytes())
    assert check_training("macaw-large", setup, H100) == ""


def test_the_memory_of_the_smallest_gpu_in_use_counts() -> None:
    gpus = (SimulatedGpu("GPU-0"), SimulatedGpu("GPU-1"))
    with SimulatedNvml(*gpus).install():
        assert memory.gpu_bytes() is not None
    with SimulatedNvml().install():
        assert memory.gpu_bytes() is None
