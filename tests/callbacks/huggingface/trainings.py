"""Tiny models, data and trainers of transformers and TRL, for tests; nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerFast, Trainer, TrainerCallback
    from trl import DPOTrainer, GRPOTrainer, RewardTrainer, SFTTrainer

WORDS = ["<pad>", "<eos>", "<unk>", "the", "grid", "is", "clean", "dirty", "now", "at", "noon"]
TEXTS = ["the grid is clean at noon", "the grid is dirty now", "noon is clean", "now is dirty"]
COUNT = 24


def tokenizer() -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def model() -> Any:
    """Return a model with dropout, so that random state matters."""
    from tests.models.tiny import tiny_model

    return tiny_model(
        vocab_size=len(WORDS), hidden_dropout=0.2, max_position_embeddings=32,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip


def token_blocks(count: int = COUNT) -> datasets.Dataset:
    import datasets

    ids = [[3 + (row + n) % 8 for n in range(8)] for row in range(count)]
    return datasets.Dataset.from_dict({"input_ids": ids, "labels": ids})


def texts() -> datasets.Dataset:
    import datasets

    return datasets.Dataset.from_dict({"text": TEXTS * (COUNT // 4)})


def _arguments(kind: type, folder: Path, options: dict[str, Any]) -> Any:
    usual = {
        "output_dir": str(folder / "out"), "per_device_train_batch_size": 2, "max_steps": 6,
        "use_cpu": True, "report_to": "none", "save_strategy": "no", "logging_steps": 2,
        "disable_tqdm": True, "seed": 5, "log_level": "error",
    }  # fmt: skip
    return kind(**{**usual, **options})


def _callbacks(given: TrainerCallback | None) -> list[TrainerCallback]:
    return [] if given is None else [given]


def plain(folder: Path, callback: TrainerCallback | None, **options: Any) -> Trainer:
    from transformers import Trainer, TrainingArguments

    args = _arguments(TrainingArguments, folder, options)
    return Trainer(
        model=model(), args=args, train_dataset=token_blocks(), eval_dataset=token_blocks(8),
        callbacks=_callbacks(callback),
    )  # fmt: skip


def sft(folder: Path, callback: TrainerCallback | None, **options: Any) -> SFTTrainer:
    from trl import SFTConfig, SFTTrainer

    data = texts()
    args = _arguments(SFTConfig, folder, {"max_length": 16, **options})
    return SFTTrainer(
        model=model(), args=args, train_dataset=data, eval_dataset=data.select(range(4)),
        processing_class=tokenizer(), callbacks=_callbacks(callback),
    )  # fmt: skip


def _pairs(with_prompt: bool) -> datasets.Dataset:
    import datasets

    prompts, good, bad = ["the grid is "] * COUNT, ["clean now"] * COUNT, ["dirty now"] * COUNT
    told = {"prompt": prompts} if with_prompt else {}
    return datasets.Dataset.from_dict({**told, "chosen": good, "rejected": bad})


def dpo(folder: Path, callback: TrainerCallback | None, **options: Any) -> DPOTrainer:
    from trl import DPOConfig, DPOTrainer

    args = _arguments(DPOConfig, folder, {"max_length": 16, **options})
    data = _pairs(True)
    return DPOTrainer(
        model=model(), ref_model=model(), args=args, train_dataset=data,
        eval_dataset=data.select(range(4)), processing_class=tokenizer(),
        callbacks=_callbacks(callback),
    )  # fmt: skip


def reward(folder: Path, callback: TrainerCallback | None, **options: Any) -> RewardTrainer:
    import torch
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    from tests.models.tiny import tiny_config

    torch.manual_seed(3)
    judge = AutoModelForSequenceClassification.from_config(
        tiny_config(vocab_size=len(WORDS), num_labels=1, pad_token_id=0)
    )
    args = _arguments(RewardConfig, folder, {"max_length": 16, **options})
    return RewardTrainer(
        model=judge, args=args, train_dataset=_pairs(False), eval_dataset=_pairs(False),
        processing_class=tokenizer(), callbacks=_callbacks(callback),
    )  # fmt: skip


def words_said(completions: list[str], **_: Any) -> list[float]:
    return [float(len(one)) for one in completions]


def grpo(
    folder: Path, callback: TrainerCallback | None,
    reward_function: Callable[..., list[float]] = words_said, **options: Any,
) -> GRPOTrainer:  # fmt: skip
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    usual = {"num_generations": 2, "max_completion_length": 4}
    args = _arguments(GRPOConfig, folder, {**usual, **options})
    data = datasets.Dataset.from_dict({"prompt": ["the grid is"] * COUNT})
    return GRPOTrainer(
        model=model(), args=args, train_dataset=data, eval_dataset=data.select(range(4)),
        processing_class=tokenizer(), reward_funcs=reward_function,
        callbacks=_callbacks(callback),
    )  # fmt: skip


ALL = [plain, sft, dpo, reward, grpo]


def weights_after(make: Any, folder: Path, callback: TrainerCallback | None) -> Any:
    """Train from the same start, and return the weights and the losses that came of it."""
    from transformers import set_seed

    set_seed(11)
    trainer = make(folder, callback)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}, losses
