"""Other entry points: LoRA for a trained model, and a callback in the Hugging Face Trainer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carbon_trainer.acceptance.command import RUNS, carbon_train, check_exit_status
from carbon_trainer.acceptance.corpus import CORPUS, write_corpus
from carbon_trainer.acceptance.findings import Findings
from carbon_trainer.acceptance.parts import PartContext

if TYPE_CHECKING:
    import torch

BASE, ADAPTED = "base", "adapted"
ROWS = 64
WORDS = 32


def measure(context: PartContext, findings: Findings) -> None:
    """Train a few steps with each."""
    write_corpus(context.folder)
    _lora(context, findings)
    _hugging_face(context, findings)


def _lora(context: PartContext, findings: Findings) -> None:
    """Train a base model for a few steps, export it, and train adapters for it."""
    if importlib.util.find_spec("peft") is None:
        findings.check("LoRA trains", False, "peft is not installed: carbon-trainer[lora]")
        return
    scale, folder = context.scale, context.folder
    steps = ("--max-steps", str(scale.front_door_steps), "--data", CORPUS, "--no-host-metering")
    commands = (
        ("fit", "--run-id", BASE, "--recipe", scale.recipe, *scale.recipe_flags, *steps, *RUNS),
        ("export", BASE, "--to", "base_model", *RUNS),
        ("fit", "--run-id", ADAPTED, "--model", "base_model", "--lora-rank", "8",
         "--block-size", "64", "--batch-size", "2", *steps, *RUNS),
    )  # fmt: skip
    for command in commands:
        result = carbon_train(folder, *command)
        if not check_exit_status(findings, f"LoRA, {command[0]}", result):
            return
    used_j = _reported_j(folder / "carbon_runs" / ADAPTED)
    findings.figure("energy of LoRA's steps, GPU", used_j, "J")
    findings.check("LoRA trains, and its report has energy", used_j > 0, f"{used_j:,.1f} J")


def _reported_j(run_dir: Path) -> float:
    """Return the GPU's energy in a run's report, joules."""
    document: dict[str, Any] = json.loads((run_dir / "report.json").read_text("utf-8"))
    rows = document["energy"]["by_component"]
    return float(sum(row["energy_mj"] for row in rows if row["name"] == "gpu")) / 1000


def _hugging_face(context: PartContext, findings: Findings) -> None:
    """Train a small model through transformers' Trainer with the callback."""
    from transformers import Trainer, TrainingArguments

    from carbon_trainer.callbacks.huggingface import CarbonAwareCallback
    from carbon_trainer.models.build import model_of
    from carbon_trainer.models.recipes import recipe

    callback = CarbonAwareCallback(
        runs_dir=context.folder / "transformers_runs", budget_kwh=500, host_metering=False
    )
    args = TrainingArguments(
        output_dir=str(context.folder / "transformers"),
        max_steps=context.scale.front_door_steps,
        use_cpu=context.accelerator.trains_on == "cpu",
        bf16=context.accelerator.trains_on == "gpu",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        log_level="error",
    )
    config = recipe("gpt-neox-tiny").to_config(vocab_size=300, block_size=WORDS)
    trainer = Trainer(model_of(config), args, train_dataset=_rows(), callbacks=[callback])
    trainer.train()
    (run_dir,) = (path.parent for path in context.folder.glob("transformers_runs/*/report.json"))
    used_j = _reported_j(run_dir)
    findings.figure("energy of the Hugging Face Trainer's steps, GPU", used_j, "J")
    findings.check(
        "the Hugging Face Trainer trains with the callback, and its report has energy",
        trainer.state.global_step == context.scale.front_door_steps and used_j > 0,
        f"{trainer.state.global_step} steps, {used_j:,.1f} J",
    )


def _rows() -> Any:
    """Return a dataset of random tokens."""
    import torch
    from torch.utils.data import Dataset

    class Tokens(Dataset[dict[str, "torch.Tensor"]]):
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            ids = torch.randint(0, 300, (WORDS,), generator=torch.Generator().manual_seed(index))
            return {"input_ids": ids, "labels": ids}

    return Tokens()
