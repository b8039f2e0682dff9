"""``carbon-train fit --lora-rank``: trained, gone on with, exported merged and alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.cli.commands import Ended, Shell

Train = Callable[..., Ended]


@pytest.fixture
def flags(shell: Shell, carbon_train: Train) -> list[str]:
    """Flags of a LoRA run on a base model of some steps."""
    flags = [*shell.tiny, "--progress", "off"]
    assert carbon_train("fit", *flags, "--runs-dir", "before").status == 0
    ended = carbon_train("export", "last", "--runs-dir", "before", "--to", "base")
    assert ended.status == 0, ended.err
    at = flags.index("--vocab-size")
    del flags[at : at + 2]
    flags[flags.index("--model") + 1] = "base"
    return [*flags, "--lora-rank", "2", "--checkpoint-every", "6"]


def loaded(folder: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()


def weights(run: Path) -> dict[str, torch.Tensor]:
    (last,) = (run / "checkpoints").glob("*12.ckpt")
    return torch.load(last, weights_only=True)["state_dict"]


def test_a_run_is_reported_and_exported_merged_or_as_an_adapter(
    shell: Shell, carbon_train: Train, flags: list[str]
) -> None:
    ended = carbon_train("fit", *flags)
    assert ended.status == 0, ended.err
    report = json.loads((shell.folder / "carbon_runs" / shell.run_id() / "report.json").read_text())
    model = report["model"]
    assert f"({model['trained_parameters']:,} of them trained)" in ended.out
    assert model["architecture"] == "GPTNeoXForCausalLM"
    compute = report["figures"]["training-compute"]
    assert compute["value"] == pytest.approx(
        (4 * model["parameters"] + 2 * model["trained_parameters"]) * 12 * 4 * 32
    )
    assert carbon_train("export", "last", "--to", "merged").status == 0
    assert carbon_train("export", "last", "--adapter", "--to", "alone").status == 0
    assert not (shell.folder / "alone" / "config.json").exists()
    merged, beside = loaded("merged"), PeftModel.from_pretrained(loaded("base"), "alone")
    ids = torch.arange(20).unsqueeze(0)
    torch.testing.assert_close(merged(ids).logits, beside(ids).logits)
    assert not torch.allclose(merged(ids).logits, loaded("base")(ids).logits)


def test_it_goes_on_bit_for_bit_and_with_the_same_adapters_only(
    shell: Shell, carbon_train: Train, flags: list[str]
) -> None:
    assert carbon_train("fit", *flags, "--run-id", "whole").status == 0
    runs = shell.folder / "carbon_runs"
    assert carbon_train("fit", *flags, "--run-id", "parted").status == 0
    (runs / "parted" / "checkpoints" / "step-00000012.ckpt").write_bytes(b"lost")
    other = carbon_train("fit", "--resume", "parted", "--lora-rank", "3")
    assert other.status == 2
    assert "was begun with lora_rank 2, and cannot go on with 3" in other.err
    assert carbon_train("fit", "--resume", "parted", "--progress", "off").status == 0
    once, twice = weights(runs / "whole"), weights(runs / "parted")
    assert once.keys() == twice.keys()
    assert all(torch.equal(value, twice[name]) for name, value in once.items())


def test_a_run_without_an_adapter_has_none_to_export(shell: Shell, carbon_train: Train) -> None:
    assert carbon_train("fit", *shell.tiny).status == 0
    ended = carbon_train("export", "last", "--adapter")
    assert ended.status == 2
    assert "was trained without LoRA" in ended.err
