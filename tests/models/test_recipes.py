"""A model is found by recipe, folder or config file, never by network; what is broken is said."""

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
    end_warning,
    is_encoder_decoder,
)
from carbon_trainer.models.recipes import auto_class, recipe, recipes
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


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt-neox-70m", 18_915_328),
        ("gpt-neox-160m", 85_056_000),
        ("gpt-neox-410m", 302_311_424),
        ("gpt-neox-1b", 805_736_448),
        ("gpt-neox-1.4b", 1_208_602_624),
        ("gpt-neox-2.8b", 2_517_652_480),
        ("gpt-neox-6.9b", 6_444_163_072),
        ("gpt-neox-12b", 11_327_027_200),
    ],
)
def test_recipes_have_as_many_parameters_beside_embeddings_as_pythia_publishes(
    name: str, published: int
) -> None:
    chosen = recipe(name)
    width = chosen.config["hidden_size"]
    assert chosen.parameters() - 2 * chosen.vocab_size * width == published


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Black et al. 2022 and the weights that their authors have published.
        ("gpt-neox-20b", 20_554_567_680),
        ("gpt2-124m", 124_439_808),
        ("gpt2-1.5b", 1_557_611_200),
        ("opt-125m", 125_239_296),
        ("opt-350m", 331_196_416),
        ("opt-1.3b", 1_315_758_080),
        ("opt-6.7b", 6_658_473_984),
        ("llama-7b", 6_738_415_616),
        ("llama-65b", 65_285_660_672),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3-70b", 70_553_706_496),
        # T5's, from which Macaw's were trained.
        ("macaw-large", 737_668_096),
        ("macaw-3b", 2_851_598_336),
        ("macaw-11b", 11_307_321_344),
    ],
)
def test_recipes_have_the_parameters_of_published_weights(name: str, published: int) -> None:
    assert recipe(name).parameters() == published


@pytest.mark.parametrize(
    ("name", "billions"), [("palm-8b", 8.63), ("palm-62b", 62.50), ("palm-540b", 540.35)]
)
def test_palms_have_the_parameters_of_the_papers_table(name: str, billions: float) -> None:
    assert recipe(name).parameters() / 1e9 == pytest.approx(billions, abs=0.01)


@pytest.mark.parametrize("name", recipes())
@pytest.mark.parametrize("vocab_size", [None, 300])
def test_parameters_are_counted_as_in_a_model_that_is_made(
    name: str, vocab_size: int | None
) -> None:
    chosen = recipe(name)
    assert chosen.parameters(vocab_size) == chosen.made_parameters(vocab_size)


@pytest.mark.parametrize(
    "name", ["gpt-4", "GPT4o", "gpt-4.1-mini", "o3", "Claude-3-opus", "gemini-2.5-pro"]
)
def test_a_model_of_unpublished_size_cannot_be_trained_but_estimated(name: str) -> None:
    for refuse in (check_model_name, recipe):
        with pytest.raises(InputError, match=r"not published.*carbon-train estimate --params"):
            refuse(name)


@pytest.mark.parametrize("name", ["gpt-3", "gpt4all", "gemini-nano", "gpt2-40b"])
def test_other_unknown_names_are_just_unknown(name: str) -> None:
    with pytest.raises(InputError, match="there is no recipe"):
        recipe(name)


def test_palm_is_parallel_has_one_key_value_head_swiglu_no_biases_and_tied_embeddings() -> None:
    model, _ = build_model("palm-tiny", vocab_size=300, block_size=16)
    layer = model.model.layers[0]
    assert not hasattr(layer, "post_attention_layernorm")
    assert layer.self_attn.k_proj.out_features == 160 // 4
    assert layer.mlp.gate_proj.out_features == 640
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_says_where_it_is_from_and_makes_an_architecture(name: str) -> None:
    import torch

    chosen = recipe(name)
    assert chosen.sources
    assert 0 < chosen.learning_rate < 0.01
    with torch.device("meta"):
        config = chosen.to_config(vocab_size=300)
        model = auto_class(config).from_config(config)
    assert model.config.model_type == chosen.architecture
    assert model.get_input_embeddings().weight.shape[0] == 300
    assert model.get_input_embeddings().padding_idx is None


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


def test_a_mistyped_recipe_is_told_the_nearest() -> None:
    assert "Did you mean gpt-neox-125m" in _refusal("gpt-neox-125")
    with pytest.raises(InputError, match="Did you mean gpt-neox-tiny"):
        recipe("gpt-neox-tny")


def test_a_name_on_a_hub_is_told_how_to_fetch_it() -> None:
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
    assert message.startswith(f"the model in {folder} does not agree with its config: weights ")
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
    assert _refusal(folder) == f"the model in {folder} is not whole: it has no weights {lost}."


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


def test_macaw_is_t5_as_first_published() -> None:
    import torch

    model, _ = build_model("macaw-tiny", vocab_size=300, block_size=16)
    block = model.encoder.block[0].layer[1].DenseReluDense
    assert not hasattr(block, "wi_0")
    assert isinstance(block.act, torch.nn.ReLU)
    assert model.lm_head.weight is model.shared.weight
    assert (model.config.pad_token_id, model.config.eos_token_id) == (0, 1)


def test_what_kind_a_model_is_can_be_told_without_making_it(tmp_path: Path, folder: Path) -> None:
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
    assert "knows 300 tokens and its tokenizer has 301" in _refusal(folder, vocab_size=301)


def test_a_tokenizer_that_ends_texts_otherwise_than_the_model_is_told(folder: Path) -> None:
    model, _ = build_model(str(folder), vocab_size=300, block_size=16)
    model.config.eos_token_id = 7
    assert end_warning(model, "folder", 7) == ""
    assert "ends texts with token 7, and by its tokenizer with 0" in end_warning(model, "folder", 0)
    model.config.eos_token_id = [7, 0]
    assert end_warning(model, "folder", 0) == ""
    model.config.eos_token_id = None
    assert end_warning(model, "folder", 0) == ""
