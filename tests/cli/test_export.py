"""``carbon-train export``: what was trained is loaded by transformers, with a card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import CommandResult, Shell

pytestmark = pytest.mark.slow

Train = Callable[..., CommandResult]


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Two layers, so that one taken for the other would show."""
    return Shell(shell.folder, layers=2)


@pytest.fixture
def trained(shell: Shell, carbon_train: Train) -> Path:
    result = carbon_train("fit", *shell.tiny)
    assert result.status == 0, result.err
    assert f"carbon-train export {shell.run_id()}" in result.out
    return shell.folder / "carbon_runs" / shell.run_id()


def test_weights_tokenizer_and_card_are_written(trained: Path, carbon_train: Train) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result = carbon_train("export", "last", "--to", "trained")
    assert result.status == 0, result.err
    model = AutoModelForCausalLM.from_pretrained("trained", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained("trained", local_files_only=True)
    newest = max((trained / "checkpoints").glob("*.ckpt"))
    saved = torch.load(newest, weights_only=True)["state_dict"]
    assert all(torch.equal(v, saved[f"model.{name}"]) for name, v in model.state_dict().items())
    assert tokenizer.decode(tokenizer("def function_1").input_ids) == "def function_1"
    assert "co2_eq_emissions" in Path("trained/README.md").read_text()


def test_an_exported_model_can_be_trained(trained: Path, shell: Shell, carbon_train: Train) -> None:
    assert carbon_train("export", trained.name).status == 0
    flags = list(shell.tiny)
    at = flags.index("--vocab-size")
    del flags[at : at + 2]
    flags[flags.index("--model") + 1] = str(trained / "model")
    assert carbon_train("fit", *flags).status == 0


def test_an_existing_card_is_kept(trained: Path, carbon_train: Train) -> None:
    Path("mine").mkdir()
    Path("mine/README.md").write_text("# Mine\n")
    assert carbon_train("export", "last", "--to", "mine").status == 0
    assert "# Mine" in Path("mine/README.md").read_text()


def test_a_damaged_checkpoint_is_skipped_and_no_checkpoint_is_an_error(
    trained: Path, carbon_train: Train
) -> None:
    checkpoints = sorted((trained / "checkpoints").glob("*.ckpt"))
    checkpoints[-1].write_bytes(b"damaged")
    assert checkpoints[-2].name in carbon_train("export", "last").out
    for path in checkpoints:
        path.write_bytes(b"damaged")
    result = carbon_train("export", "last")
    assert result.status == 2
    assert "has no valid checkpoint" in result.err


def test_a_run_without_its_config_is_refused(trained: Path, carbon_train: Train) -> None:
    (trained / "model" / "config.json").unlink()
    result = carbon_train("export", "last")
    assert result.status == 2
    assert "has no config.json" in result.err
    assert "Traceback" not in result.err


def test_a_folder_that_cannot_be_written_is_reported(trained: Path, carbon_train: Train) -> None:
    Path("taken").write_text("")
    result = carbon_train("export", "last", "--to", "taken/inside")
    assert result.status == 2
    assert "cannot write the model into taken/inside" in result.err
