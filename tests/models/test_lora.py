"""LoRA: the pretrained weights stay, the adapters learn, and both are found again."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from carbon_trainer.config import RunConfig
from carbon_trainer.errors import InputError
from carbon_trainer.models.lora import architecture_of, check_lora, with_adapter
from carbon_trainer.models.module import TransformerModule
from carbon_trainer.models.recipes import recipe
from tests.models.tiny import tiny_model

FAMILIES = ["gpt-neox-tiny", "gpt2-tiny", "opt-tiny", "llama-tiny", "palm-tiny"]


@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_learn_and_all_else_stays_as_it_was(name: str) -> None:
    torch.manual_seed(1)
    base = TransformerModule.from_recipe(name, vocab_size=300, block_size=16).model
    before = copy.deepcopy(base.state_dict())
    adapted = with_adapter(base, rank=2, alpha=4).train()
    trained = {n: p for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in n for n in trained)
    assert not any("lm_head" in n or "embed_out" in n for n in trained)
    ids = torch.randint(0, 300, (2, 16))
    optimizer = torch.optim.AdamW(trained.values(), lr=0.02)
    losses = []
    for _ in range(8):
        loss = adapted(input_ids=ids, labels=ids, use_cache=False).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.05
    kept = {
        n.removeprefix("base_model.model.").replace(".base_layer", ""): p
        for n, p in adapted.state_dict().items()
        if "lora_" not in n
    }
    assert kept.keys() == before.keys()
    assert all(torch.equal(value, before[n]) for n, value in kept.items())
    assert architecture_of(adapted) == architecture_of(base)
    assert recipe(name).architecture.replace("_", "") in architecture_of(adapted).lower()


def test_a_model_without_linear_layers_is_refused_in_a_sentence() -> None:
    model = tiny_model()
    model.gpt_neox.layers = torch.nn.ModuleList()
    with pytest.raises(InputError, match="LoRA cannot be used with this model"):
        with_adapter(model, rank=2, alpha=4)


def test_random_weights_and_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begins with random weights"):
        check_lora(RunConfig(model="gpt2-tiny", lora_rank=2))
    with pytest.raises(InputError, match="strategy fsdp"):
        check_lora(RunConfig(model=str(tmp_path), lora_rank=2, strategy="fsdp"))
    check_lora(RunConfig(model=str(tmp_path), lora_rank=2))
    check_lora(RunConfig(model="gpt2-tiny"))


def test_without_peft_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'carbon-trainer\[lora\]'"):
        check_lora(RunConfig(model=str(tmp_path), lora_rank=2))
