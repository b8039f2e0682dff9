"""A small set of questions with slots, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData

QUESTIONS = Path(__file__).with_name("questions.jsonl")


def tokenized_questions(folder: Path, *paths: Path, **settings: Any) -> TokenizedData:
    from carbon_trainer.data.tokenize_pairs import tokenize_pairs

    defaults = {
        "model": "macaw-tiny",
        "vocab_size": 400,
        "block_size": 64,
        "validation_fraction": 0.2,
        "cache_dir": folder / "cache",
        **settings,
    }
    return tokenize_pairs(list(paths or (QUESTIONS,)), **defaults)
