"""Recipes have the sizes that were published, and state where they are from."""

from __future__ import annotations

import pytest

from carbon_trainer.errors import InputError
from carbon_trainer.models.build import build_model, check_model_name
from carbon_trainer.models.recipes import auto_class, recipe, recipes

pytestmark = pytest.mark.slow


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
    model_recipe = recipe(name)
    width = model_recipe.config["hidden_size"]
    assert model_recipe.parameters() - 2 * model_recipe.vocab_size * width == published


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
def test_parameters_are_counted_as_in_a_model_that_is_built(
    name: str, vocab_size: int | None
) -> None:
    model_recipe = recipe(name)
    assert model_recipe.parameters(vocab_size) == model_recipe.built_parameters(vocab_size)


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

    model_recipe = recipe(name)
    assert model_recipe.sources
    assert 0 < model_recipe.learning_rate < 0.01
    with torch.device("meta"):
        config = model_recipe.to_config(vocab_size=300)
        model = auto_class(config).from_config(config)
    assert model.config.model_type == model_recipe.architecture
    assert model.get_input_embeddings().weight.shape[0] == 300
    assert model.get_input_embeddings().padding_idx is None


def test_macaw_is_t5_as_first_published() -> None:
    import torch

    model, _ = build_model("macaw-tiny", vocab_size=300, block_size=16)
    block = model.encoder.block[0].layer[1].DenseReluDense
    assert not hasattr(block, "wi_0")
    assert isinstance(block.act, torch.nn.ReLU)
    assert model.lm_head.weight is model.shared.weight
    assert (model.config.pad_token_id, model.config.eos_token_id) == (0, 1)


def test_a_mistyped_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean gpt-neox-tiny"):
        recipe("gpt-neox-tny")
