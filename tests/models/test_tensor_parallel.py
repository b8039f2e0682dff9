"""Layers split over ranks: the same losses and weights as whole ones, or a clear refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from carbon_trainer.config import COMMAND_LINE, RunConfig
from carbon_trainer.distributed.environment import check_split_ranks
from carbon_trainer.errors import InputError
from carbon_trainer.models.build import build_model
from tests.models.tiny import tiny_model
from tests.warm import WarmProcess

ROOT = Path(__file__).parents[2]
ARCHITECTURES = ("gpt_neox", "llama", "mistral", "opt", "qwen2")
TIED = [f"{name}+tied" for name in ("gpt_neox", "llama", "opt")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Each rank's comparison of every architecture."""

    folder = tmp_path_factory.mktemp("split")
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    torchrun = WarmProcess(
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "-m", "tests.models.split_rank", str(folder), *ARCHITECTURES, *TIED],
        cwd=folder, env=environ,
    )  # fmt: skip
    _, err = torchrun.communicate(timeout=240)
    assert torchrun.returncode == 0, err[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ARCHITECTURES, *TIED])
def test_a_split_model_trains_as_a_whole_one_does(name: str, trained: list[dict[str, Any]]) -> None:
    result = trained[0][name]
    assert result["split_losses"] == pytest.approx(result["losses"], rel=1e-5)
    assert result["losses"][0] != pytest.approx(result["losses"][-1], rel=1e-3)
    assert result["apart"] < 1e-4
    assert result["share_split"] > 0.75


@pytest.mark.slow
def test_every_architecture_that_can_be_split_is_compared() -> None:
    from carbon_trainer.models.tensor_parallel import SPLITTABLE

    assert SPLITTABLE == ARCHITECTURES


@pytest.mark.slow
def test_ranks_that_split_a_model_come_to_the_same_bit_for_bit(
    trained: list[dict[str, Any]],
) -> None:
    assert trained[0] == trained[1]


@pytest.mark.slow
def test_the_norm_is_clipped_as_torch_does_it_where_nothing_is_split() -> None:
    import torch

    from carbon_trainer.models.tensor_parallel import clip_by_norm

    reference, clipped = tiny_model(), tiny_model()
    batch = torch.arange(16).reshape(2, 8)
    for model in (reference, clipped):
        model.train(False)(input_ids=batch, labels=batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.1)
    clip_by_norm(clipped.parameters(), 0.1)
    pairs = zip(reference.parameters(), clipped.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad) for a, b in pairs if a.grad is not None)


@pytest.mark.slow
def test_heads_that_the_ranks_do_not_divide_are_refused_with_numbers_that_do() -> None:
    from carbon_trainer.models.tensor_parallel import check_split

    model = tiny_model(hidden_size=36, num_attention_heads=6, intermediate_size=48)
    with pytest.raises(InputError, match=r"4 does not divide the model's 6 attention .* 2, 3 or 6"):
        check_split(model, 4)
    check_split(model, 3)


@pytest.mark.slow
def test_an_architecture_that_cannot_be_split_is_refused_with_those_that_can() -> None:
    from carbon_trainer.models.tensor_parallel import check_split

    model, _ = build_model("gpt2-tiny", vocab_size=300, block_size=16)
    with pytest.raises(InputError, match=r"gpt2 cannot be split .* gpt_neox, llama, .* fsdp"):
        check_split(model, 2)


@pytest.mark.parametrize(("ranks", "reason"), [(1, "there is 1"), (3, "there are 3")])
def test_ranks_that_the_split_does_not_divide_are_refused(ranks: int, reason: str) -> None:
    with pytest.raises(InputError, match=f"--tensor-parallel 2 needs a multiple of 2 .* {reason}"):
        check_split_ranks(ranks, 2)
    check_split_ranks(4, 2)


@pytest.mark.parametrize(("setting", "value"), [("strategy", "ddp"), ("lora_rank", 4)])
def test_settings_that_split_layers_exclude_are_refused(setting: str, value: object) -> None:
    with pytest.raises(InputError, match=f"tensor_parallel does not go with {setting}"):
        RunConfig.from_sources((COMMAND_LINE, {"tensor_parallel": 2, setting: value}))
