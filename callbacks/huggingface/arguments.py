"""What is known of a transformers Trainer from its arguments, its data and its model."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from carbon_trainer.control.budget import RECENT_STEPS
from carbon_trainer.distributed.process import ProcessRank
from carbon_trainer.hardware import machine

if TYPE_CHECKING:
    from transformers import Trainer, TrainerState, TrainingArguments

TOKEN_IDS = ("prompt_ids", "completion_ids", "chosen_input_ids", "rejected_input_ids")


def tokens_in(inputs: Any) -> int:
    """Return how many tokens a micro-batch has, padding too; 0 where it does not say."""
    if not isinstance(inputs, Mapping):
        return 0
    names: Iterable[str] = ("input_ids",) if "input_ids" in inputs else TOKEN_IDS
    tensors = (inputs.get(name) for name in names)
    return sum(ids.numel() for ids in tensors if isinstance(ids, torch.Tensor))


def epoch_may_end(args: TrainingArguments, state: TrainerState) -> bool:
    """Tell whether the epoch may end with this step, and a validation follow."""
    if args.eval_strategy != "epoch":
        return False
    # Data without a length may end with any step; the trainer takes its epochs for whole runs.
    return args.max_steps > 0 or state.epoch is None or float(state.epoch).is_integer()


def validation_steps(reference: weakref.ref[Trainer]) -> float:
    """Estimate how many steps' energy a validation needs, before one was metered.

    A batch of it costs less than a step, for it has no backward pass; where its batches are
    larger than a step's, examples are compared.

    Args:
        reference: the trainer, which has the data; not kept alive.
    """
    trainer = reference()
    if trainer is None:
        return 0.0
    args, data = trainer.args, trainer.eval_dataset
    datasets = data.values() if isinstance(data, dict) else [data]
    # GRPO answers each example several times.
    repeats = int(getattr(trainer, "num_generations_eval", 1))
    examples = repeats * sum(len(dataset) for dataset in datasets if isinstance(dataset, Sized))
    batches: int = math.ceil(examples / (args.eval_batch_size * args.world_size))
    per_step: int = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return max(batches, math.ceil(examples / per_step))


def round_steps(args: TrainingArguments) -> int:
    """Return after how many steps their costs repeat: rounds of generation, and of updates."""
    every = int(getattr(args, "steps_per_generation", None) or 1)
    micro_steps = every * int(getattr(args, "num_iterations", 1))
    return math.ceil(micro_steps / args.gradient_accumulation_steps)


def recent_steps(args: TrainingArguments) -> int:
    """Return how many steps to foresee the next one from: two rounds of generation at least."""
    return max(RECENT_STEPS, 2 * round_steps(args))


def kind_of(trainer: str, args: TrainingArguments, model: Any) -> dict[str, str | float | None]:
    """Return what decides a run's power and speed, as far as a trainer tells it."""
    lengths = ("max_length", "max_completion_length", "num_generations", "steps_per_generation")
    return {
        "trainer": trainer,
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "batch_size": args.per_device_train_batch_size,
        "accumulate": args.gradient_accumulation_steps,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
        "checkpointing": bool(args.gradient_checkpointing),
        "ranks": args.world_size,
        **{name: getattr(args, name, None) for name in lengths},
    }


def saved_parameters(model: Any) -> int:
    """Return how many parameters a checkpoint has: with adapters only theirs."""
    adapters_only = hasattr(model, "peft_config")
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not adapters_only)


def usual_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Return where a trainer saves the checkpoint of its present step."""
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"


def process_of(args: TrainingArguments) -> ProcessRank:
    """Return where this process stands among the trainer's others."""
    group = os.environ.get("GROUP_RANK")
    node = machine.host_name() if group is None else f"node{group}"
    return ProcessRank(args.process_index, args.world_size, node, args.device)
