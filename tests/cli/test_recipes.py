"""``carbon-train recipes`` and ``--recipe``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.commands import CommandResult

Train = Callable[..., CommandResult]


def test_recipes_are_listed_with_parameters_and_sources(carbon_train: Train) -> None:
    lines = carbon_train("recipes", "opt").out.splitlines()
    assert any(line.split()[:2] == ["opt-125m", "125,239,296"] for line in lines)
    assert not any(line.startswith("llama") for line in lines)
    assert "arXiv 2205.01068" in "\n".join(lines)


def test_an_unknown_family_suggests_the_nearest(carbon_train: Train) -> None:
    result = carbon_train("recipes", "lama")
    assert result.status == 2
    assert "Did you mean llama or palm?" in result.err


def test_recipe_is_an_alias_of_model(
    carbon_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = yaml.safe_load(carbon_train("fit", "--recipe", "opt-125m", "--print-config").out)
    assert printed["model"] == "opt-125m"
    assert printed["learning_rate"] == 6e-4
    result = carbon_train("fit", "--recipe", "opt-126m")
    assert result.status == 2
    assert "Did you mean opt-125m or" in result.err
