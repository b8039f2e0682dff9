"""LoRA from the command line: a pretrained folder trains on by adapters, resumes, is exported."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import Progress
from carbon_trainer.ledger.store import Ledger
from tests.cli.commands import CommandResult, Shell

pytestmark = pytest.mark.slow

Train = Callable[..., CommandResult]


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Two layers, so that one taken for the other would show."""
    return Shell(shell.folder, layers=2)


@pytest.fixture
def flags(shell: Shell, carbon_train: Train) -> list[str]:
    """Flags that train a pretrained folder on by LoRA."""
    assert carbon_train("fit", *shell.tiny, "--runs-dir", "before").status == 0
    result = carbon_train("export", "last", "--runs-dir", "before", "--to", "base")
    assert result.status == 0, result.err
    flags = [
        *shell.tiny,
        "--checkpoint-every",
        "5",
        "--lora-rank",
        "4",
        "--lora-dropout",
        "0.1",
        "--learning-rate",
        "0.05",
    ]
    flags[flags.index("--model") + 1] = "base"
    # Another text than the base has seen, so that there is something to learn.
    Path("other.txt").write_text("".join(f"{n * 37 % 89}; {n % 7}; stop\n" for n in range(600)))
    flags[flags.index("--data") + 1] = "other.txt"
    return flags


def _losses(run_id: str) -> list[float]:
    ledger = Ledger.open(Path("carbon_runs/ledger.sqlite"), create=False)
    facts = (fact.body for fact in ledger.facts(run_id, Progress))
    return [fact["loss"] for fact in facts if fact["loss"] is not None]


def _no_network(*_: object, **__: object) -> None:
    raise AssertionError("the network is not touched")


def test_lora_trains_resumes_bit_for_bit_and_is_exported_merged_or_alone(
    shell: Shell, carbon_train: Train, flags: list[str]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result = carbon_train("fit", *flags)
    assert result.status == 0, result.err
    assert "of them trained)" in result.out
    place = Path("carbon_runs") / shell.run_id()
    uninterrupted = _losses(shell.run_id())
    assert uninterrupted[-1] < uninterrupted[0] - 0.1
    again = carbon_train("fit", "--resume", str(place / "checkpoints" / "step-00000005.ckpt"))
    assert again.status == 0, again.out + again.err
    assert _losses(shell.run_id()) == uninterrupted + uninterrupted[5:]

    assert carbon_train("export", "last", "--to", "merged").status == 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, "connect", _no_network)
        patched.setattr(socket, "getaddrinfo", _no_network)
        assert carbon_train("export", "last", "--adapter", "--to", "adapter").status == 0
    assert not Path("merged/adapter_config.json").exists()
    assert not Path("adapter/model.safetensors").exists()
    settings = json.loads(Path("adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "base"
    for folder in ("merged", "adapter"):
        assert "co2_eq_emissions" in Path(folder, "README.md").read_text()
    base, whole_model = (
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        for folder in ("base", "merged")
    )
    ids = AutoTokenizer.from_pretrained("merged")("def function_1", return_tensors="pt").input_ids
    with torch.no_grad():
        plain, merged = base(ids).logits, whole_model(ids).logits
        adapted = PeftModel.from_pretrained(base, "adapter")(ids).logits
    assert torch.allclose(adapted, merged, atol=1e-4)
    assert not torch.allclose(adapted, plain, atol=1e-2)


def test_the_report_has_trained_parameters_and_the_compute_that_frozen_weights_save(
    shell: Shell, carbon_train: Train, flags: list[str]
) -> None:
    assert carbon_train("fit", *flags, "--max-steps", "2").status == 0
    place = Path("carbon_runs") / shell.run_id()
    report = json.loads((place / "report.json").read_text())
    model, figures = report["model"], report["figures"]
    trained = model["trained_parameters"]
    assert 0 < trained < model["parameters"] / 2
    assert figures["training-compute"]["value"] == pytest.approx(
        (4 * model["parameters"] + 2 * trained) * figures["tokens"]["value"]
    )
    markdown = (place / "report.md").read_text()
    assert f"{trained:,} of them trained on top of frozen pretrained weights" in markdown


def test_unsupported_uses_of_lora_are_one_sentence(
    shell: Shell, carbon_train: Train, flags: list[str]
) -> None:
    for args, message in (
        ((*shell.tiny, "--lora-rank", "4"), "model.json starts with random ones"),
        (("--lora-rank", "4"), "gpt-neox-tiny starts with random ones"),
        ((*shell.tiny, "--lora-alpha", "4"), "lora_alpha needs lora_rank"),
        ((*flags, "--strategy", "fsdp"), "cannot be combined with --strategy fsdp"),
        ((*flags, "--lora-targets", "q_proj"), "no adapters can be added to --lora-targets q_proj"),
        (("export", "last", "--runs-dir", "before", "--adapter"), "not trained with --lora-rank"),
    ):
        result = carbon_train(*args) if args[0] == "export" else carbon_train("fit", *args)
        assert result.status == 2
        assert message in result.err
        assert "Traceback" not in result.err
