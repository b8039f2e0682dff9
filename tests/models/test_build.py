"""A model is built from a recipe, folder or config file, without network; errors name the fault."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models.build import (
    build_model,
    check_model_name,
    end_token_warning,
    is_encoder_decoder,
)
from carbon_trainer.models.recipes import recipe
from tests.models.tiny import tiny_config, tiny_model

if TYPE_CHECKING:
    from transformers import T5Config

pytestmark = pytest.mark.slow

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "pretrained")
    return tmp_path / "pretrained"


def _config_file(tmp_path: Path, config: Any) -> Path:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(config if isinstance(config, dict) else config.to_dict()))
    return path


def _refusal(name: str | Path, vocab_size: int = 300, block_size: int = 16) -> str:
    with pytest.raises(InputError) as caught:
        build_model(str(name), vocab_size=vocab_size, block_size=block_size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_recipe_makes_a_model_in_training_mode_that_is_not_pretrained() -> None:
    model, origin = build_model("gpt-neox-tiny", vocab_size=512, block_size=32)
    assert model.training
    assert not origin.pretrained
    assert sum(p.numel() for p in model.parameters()) == recipe("gpt-neox-tiny").parameters(512)


def test_a_pretrained_folder_gives_its_own_weights(folder: Path) -> None:
    import torch

    model, origin = build_model(str(folder), vocab_size=300, block_size=16)
    saved = tiny_model().state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert model.training
    assert origin.pretrained


def test_weights_in_half_precision_are_trained_in_full(tmp_path: Path) -> None:
    import torch

    tiny_model().to(torch.bfloat16).save_pretrained(tmp_path)
    from_folder, _ = build_model(str(tmp_path), vocab_size=300, block_size=16)
    from_file, _ = build_model(str(tmp_path / "config.json"), vocab_size=300, block_size=16)
    assert {p.dtype for p in from_folder.parameters()} == {torch.float32}
    assert {p.dtype for p in from_file.parameters()} == {torch.float32}


def _small_config(family: str) -> Any:
    from transformers import GPT2Config, LlamaConfig

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    if family == "llama":
        return LlamaConfig(**SMALL, vocab_size=100, intermediate_size=32, **ends)
    if family == "gpt2":
        return GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=400, **ends)
    return tiny_config()


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "gpt2"])
def test_any_causal_config_file_makes_a_model_that_holds_the_vocabulary(
    tmp_path: Path, family: str
) -> None:
    config = _small_config(family)
    assert config.model_type == family
    model, origin = build_model(str(_config_file(tmp_path, config)), vocab_size=300, block_size=16)
    assert model.config.model_type == config.model_type
    assert model.get_input_embeddings().weight.shape[0] == max(300, config.vocab_size)
    assert not origin.pretrained


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: opened.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: opened.append(address))
    build_model(str(folder), vocab_size=300, block_size=16)
    build_model("gpt-neox-tiny", vocab_size=300, block_size=16)
    _refusal("EleutherAI/pythia-70m")
    assert opened == []


def test_a_mistyped_recipe_is_refused_with_the_nearest() -> None:
    assert "Did you mean gpt-neox-125m" in _refusal("gpt-neox-125")


def test_a_name_on_a_hub_is_refused_with_how_to_download_it() -> None:
    message = _refusal("EleutherAI/pythia-70m")
    assert "nothing is downloaded" in message
    assert "hf download EleutherAI/pythia-70m --local-dir FOLDER" in message


def test_a_name_that_no_file_can_have_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="cannot read the model"):
        check_model_name("x" * 5000)


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    assert _refusal(tmp_path) == f"the model folder {tmp_path} has no config.json."


def test_weights_of_another_size_than_the_config_says_are_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 400}))
    message = _refusal(folder, vocab_size=400)
    assert message.startswith(f"the model in {folder} does not match its config: weights ")
    assert message.endswith(" are 300 by 16, and by the config 400 by 16.")


@pytest.mark.parametrize("text", ["{", "[1]", '{"model_type": "gpt-42"}', "{}", "\x80"])
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(text.encode("latin-1"))
    assert _refusal(path).startswith(f"{path} is not a transformers config: ")


def test_settings_that_make_no_model_are_refused(tmp_path: Path) -> None:
    path = _config_file(tmp_path, {**tiny_config().to_dict(), "num_attention_heads": 3})
    assert str(path) in _refusal(path)


def test_a_folder_with_a_broken_config_is_named(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "gpt_neox", ')
    assert _refusal(folder).startswith(f"cannot load the model in {folder}: ")


def test_a_folder_without_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert _refusal(folder).startswith(f"cannot load the model in {folder}: ")


def test_corrupt_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert _refusal(folder).startswith(f"cannot load the model in {folder}: ")


def test_weights_that_lack_some_are_refused_instead_of_being_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    lost = "gpt_neox.layers.0.mlp.dense_h_to_4h.bias"
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert _refusal(folder) == f"the model in {folder} is incomplete: it has no weights {lost}."


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    config = BertConfig(**SMALL)
    path = _config_file(tmp_path, config)
    assert "only causal language models and encoder-decoders" in _refusal(path)
    config.save_pretrained(tmp_path / "folder")
    assert "only causal language models and encoder-decoders" in _refusal(tmp_path / "folder")


def _t5(**settings: Any) -> T5Config:
    from transformers import T5Config

    return T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, **settings)


def test_an_encoder_decoders_config_makes_a_model_that_holds_the_vocabulary(tmp_path: Path) -> None:
    path = _config_file(tmp_path, _t5(vocab_size=100, decoder_start_token_id=0))
    model, _ = build_model(str(path), vocab_size=300, block_size=16)
    assert model.config.is_encoder_decoder
    assert model.get_input_embeddings().weight.shape[0] == 300


def test_an_encoder_decoder_that_cannot_begin_a_target_is_refused(tmp_path: Path) -> None:
    path = _config_file(tmp_path, _t5(vocab_size=300))
    assert "without decoder_start_token_id" in _refusal(path)


def test_a_models_kind_is_known_without_building_it(tmp_path: Path, folder: Path) -> None:
    assert is_encoder_decoder("macaw-11b")
    assert not is_encoder_decoder("opt-125m")
    assert not is_encoder_decoder(str(folder))
    assert is_encoder_decoder(str(_config_file(tmp_path, {"model_type": "t5"})))
    assert is_encoder_decoder(str(_config_file(tmp_path, _t5())))
    with pytest.raises(InputError, match="has no model_type"):
        is_encoder_decoder(str(_config_file(tmp_path, {})))


def test_a_block_longer_than_the_model_takes_is_refused(folder: Path) -> None:
    assert "at most 16 tokens at a time" in _refusal(folder, block_size=17)


def test_a_tokenizer_larger_than_the_model_is_refused(folder: Path) -> None:
    assert "has 300 token embeddings and its tokenizer 301 tokens" in _refusal(
        folder, vocab_size=301
    )


def test_a_tokenizer_that_ends_texts_otherwise_than_the_model_gives_a_warning(folder: Path) -> None:
    model, _ = build_model(str(folder), vocab_size=300, block_size=16)
    model.config.eos_token_id = 7
    assert end_token_warning(model, "folder", 7) == ""
    assert "ends texts with token 7, and by its tokenizer with 0" in end_token_warning(
        model, "folder", 0
    )
    model.config.eos_token_id = [7, 0]
    assert end_token_warning(model, "folder", 0) == ""
    model.config.eos_token_id = None
    assert end_token_warning(model, "folder", 0) == ""
