"""Small corpora for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carbon_trainer.data.tokenize import TokenizedData


def text_file(folder: Path, *, lines: int = 60, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_text("".join(f"line {i * i % 97} of the text\n" for i in range(lines)))
    return path


def tokenized(folder: Path, *, lines: int = 60, **settings: Any) -> TokenizedData:
    from carbon_trainer.data.tokenize import tokenize

    defaults = {
        "vocab_size": 300,
        "block_size": 16,
        "validation_fraction": 0.1,
        "cache_dir": folder / "cache",
        **settings,
    }
    return tokenize([text_file(folder, lines=lines)], **defaults)
