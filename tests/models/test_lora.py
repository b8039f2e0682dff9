"""LoRA: at first nothing changes, then only adapters do; elsewhere it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models import lora
from carbon_trainer.models.build import build_model
from carbon_trainer.models.lora import LoraSettings, check_lora, merge_adapters, with_lora
from tests.models.tiny import tiny_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

pytestmark = pytest.mark.slow


def ids() -> torch.Tensor:
    import torch

    return torch.arange(16)[None]


def _with_lora(
    model: PreTrainedModel, rank: int = 2, targets: str = "all-linear"
) -> PreTrainedModel:
    return with_lora(model, LoraSettings(rank=rank, alpha=2.0 * rank, targets=targets))


def _logits(model: PreTrainedModel) -> torch.Tensor:
    import torch

    with torch.no_grad():
        return model(input_ids=ids()).logits


def test_adapters_change_nothing_at_first() -> None:
    import torch

    plain = _logits(tiny_model())
    assert torch.equal(_logits(_with_lora(tiny_model())), plain)


def test_only_adapters_are_trained_and_have_optimizer_states() -> None:
    import torch

    from carbon_trainer.models.module import TransformerModule

    module = TransformerModule(
        _with_lora(tiny_model()), learning_rate=0.01, warmup_steps=0, max_steps=5
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(2):  # B is zero at first, so that A moves in the second step
        module._loss({"input_ids": ids()}).backward()
        optimizer.step()
    changed = {
        name for name, old in before.items() if not torch.equal(module.state_dict()[name], old)
    }
    assert changed == {name for name in before if "lora_" in name}
    assert len(optimizer.state) == len(changed)


def test_merged_the_model_answers_as_with_adapters() -> None:
    import torch

    model = _with_lora(tiny_model())
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(generator=torch.Generator().manual_seed(1))
    adapted = _logits(model)
    whole = merge_adapters(model)
    assert type(whole) is type(tiny_model())
    assert torch.allclose(_logits(whole), adapted, atol=1e-5)
    assert not torch.allclose(adapted, _logits(tiny_model()), atol=1e-3)


def test_trained_parameters_are_rank_times_both_sides_of_each_layer() -> None:
    from carbon_trainer.models.count import count_parameters

    plain = count_parameters(tiny_model())
    counted = count_parameters(_with_lora(tiny_model(), rank=2))
    # query_key_value, dense, dense_h_to_4h, dense_4h_to_h; not the output layer.
    assert counted.trained == 2 * ((16 + 48) + (16 + 16) + (16 + 32) + (32 + 16))
    assert counted.all == plain.all + counted.trained
    assert counted.architecture == plain.architecture
    assert (plain.trained, plain.per_token) == (None, None)


def test_a_token_of_an_encoder_decoder_goes_through_one_of_them() -> None:
    from carbon_trainer.models.count import count_parameters

    model, _ = build_model("macaw-tiny", vocab_size=400, block_size=16)
    encoder = sum(p.numel() for name, p in model.named_parameters() if name.startswith("encoder."))
    whole = sum(p.numel() for p in model.parameters())
    assert count_parameters(model, 1.0).per_token == encoder
    assert count_parameters(model, 0.0).per_token == whole - encoder
    assert count_parameters(model, 0.5).per_token == round(whole / 2)


def test_layers_can_be_named() -> None:
    model = _with_lora(tiny_model(), targets="dense_h_to_4h, dense_4h_to_h")
    adapted = {name.split(".")[-4] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"dense_h_to_4h", "dense_4h_to_h"}


def test_a_layer_that_the_model_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(
        InputError, match="no adapters can be added to --lora-targets q_proj"
    ) as caught:
        _with_lora(tiny_model(), targets="q_proj")
    assert "query_key_value" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_transposed_matrices_get_adapters_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=300, n_positions=16)
    model = GPT2LMHeadModel(config).eval()
    plain = _logits(model)
    assert torch.equal(_logits(_with_lora(model).eval()), plain)
    assert not [warning for warning in recwarn if "fan_in_fan_out" in str(warning.message)]


@pytest.mark.parametrize("model", ["macaw-tiny", "model.json"])
def test_random_weights_are_refused(model: str) -> None:
    with pytest.raises(InputError, match=f"{model} starts with random ones"):
        check_lora(model, strategy="auto")


def test_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be combined with --strategy fsdp"):
        check_lora(str(tmp_path), strategy="fsdp")


def test_without_peft_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'carbon-trainer\[lora\]'"):
        check_lora(str(tmp_path), strategy="auto")
