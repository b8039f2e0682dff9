"""What the user leaves open is filled in before training."""

from __future__ import annotations

import pytest

from carbon_trainer.config import RunConfig
from carbon_trainer.models.lora import LEARNING_RATE
from carbon_trainer.models.recipes import recipes
from carbon_trainer.training.setup import DEFAULTS, with_defaults


def test_a_recipe_has_values_of_its_own() -> None:
    recipe = recipes()["llama-7b"]
    config = with_defaults(RunConfig(model="llama-7b"))
    assert {name: getattr(config, name) for name in DEFAULTS} == {
        name: getattr(recipe, name) for name in DEFAULTS
    }


def test_a_model_that_is_not_a_recipe_takes_the_defaults() -> None:
    config = with_defaults(RunConfig(model="somewhere/pretrained"))
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS


def test_steps_between_events_follow_from_the_number_of_steps() -> None:
    config = with_defaults(RunConfig(max_steps=200))
    assert (config.warmup_steps, config.validate_every, config.checkpoint_every) == (10, 40, 40)
    shortest = with_defaults(RunConfig(max_steps=1))
    assert (shortest.warmup_steps, shortest.validate_every, shortest.checkpoint_every) == (1, 1, 1)


def test_adapters_are_trained_at_a_higher_rate() -> None:
    assert with_defaults(RunConfig(lora_rank=8)).learning_rate == LEARNING_RATE


@pytest.mark.parametrize(("name", "value"), [("warmup_steps", 0), ("batch_size", 3)])
def test_what_the_user_gives_stands(name: str, value: int) -> None:
    config = with_defaults(RunConfig.from_sources(("f", {name: value, "zone": "GB"})))
    assert getattr(config, name) == value
    assert config.zone == "GB"


def test_all_else_stays_as_it_is() -> None:
    config = RunConfig(data=["a.txt"], slots="question=stem", trace="a.csv", budget_kwh=3)
    before, after = config.to_json(), with_defaults(config).to_json()
    assert before.keys() == after.keys()
    filled = {name for name in before if before[name] != after[name]}
    assert filled == {*DEFAULTS, "warmup_steps", "validate_every", "checkpoint_every"}
