"""``carbon-train export``: what was trained is loaded by transformers, with a card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Ended, Shell

pytestmark = pytest.mark.slow

Train = Callable[..., Ended]


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Two layers, so that one taken for the other would show."""
    return Shell(shell.folder, layers=2)


@pytest.fixture
def trained(shell: Shell, carbon_train: Train) -> Path:
    ended = carbon_train("fit", *shell.tiny)
    assert ended.status == 0, ended.err
    assert f"carbon-train export {shell.run_id()}" in ended.out
    return shell.folder / "carbon_runs" / shell.run_id()


def test_weights_tokenizer_and_card_are_written(trained: Path, carbon_train: Train) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ended = carbon_train("export", "last", "--to", "trained")
    assert ended.status == 0, ended.err
    model = AutoModelForCausalLM.from_pretrained("trained", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained("trained", local_files_only=True)
    newest = max((trained / "checkpoints").glob("*.ckpt"))
    saved = torch.load(newest, weights_only=True)["state_dict"]
    assert all(torch.equal(v, saved[f"model.{name}"]) for name, v in model.state_dict().items())
    assert tokenizer.decode(tokenizer("def function_1").input_ids) == "def function_1"
    assert "co2_eq_emissions" in Path("trained/README.md").read_text()


def test_what_was_exported_is_trained_on(trained: Path, shell: Shell, carbon_train: Train) -> None:
    assert carbon_train("export", trained.name).status == 0
    flags = list(shell.tiny)
    at = flags.index("--vocab-size")
    del flags[at : at + 2]
    flags[flags.index("--model") + 1] = str(trained / "model")
    assert carbon_train("fit", *flags).status == 0


def test_a_card_that_is_there_is_kept(trained: Path, carbon_train: Train) -> None:
    Path("mine").mkdir()
    Path("mine/README.md").write_text("# Mine\n")
    assert carbon_train("export", "last", "--to", "mine").status == 0
    assert "# Mine" in Path("mine/README.md").read_text()


def test_a_damaged_checkpoint_is_passed_over_and_none_is_said(
    trained: Path, carbon_train: Train
) -> None:
    checkpoints = sorted((trained / "checkpoints").glob("*.ckpt"))
    checkpoints[-1].write_bytes(b"damaged")
    assert checkpoints[-2].name in carbon_train("export", "last").out
    for path in checkpoints:
        path.write_bytes(b"damaged")
    ended = carbon_train("export", "last")
    assert ended.status == 2
    assert "has no checkpoint that is whole" in ended.err


def test_a_run_whose_config_was_not_kept_is_refused_in_a_sentence(
    trained: Path, carbon_train: Train
) -> None:
    (trained / "model" / "config.json").unlink()
    ended = carbon_train("export", "last")
    assert ended.status == 2
    assert "has no config.json" in ended.err
    assert "Traceback" not in ended.err


def test_a_folder_that_cannot_be_written_is_named(trained: Path, carbon_train: Train) -> None:
    Path("taken").write_text("")
    ended = carbon_train("export", "last", "--to", "taken/inside")
    assert ended.status == 2
    assert "cannot write the model into taken/inside" in ended.err
