"""What a model is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import field_validator

from carbon_trainer.config.base import Count, Section, setting


class TextSettings(Section):
    """Texts to train on, or to prepare a dataset from."""

    title: ClassVar[str] = "Texts"

    data: list[Path] = setting(
        [],
        "Text file, folder, JSONL or Parquet; may be given several times. None: the source of "
        "Python's own standard library.",
    )
    text_field: str = setting("text", "Field or column with the text, in JSONL and Parquet.")
    data_licence: str | None = setting(None, "Licence of the data, for the provenance record.")

    @field_validator("data", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value


class DataSettings(TextSettings):
    """The texts, and how training examples are made of them."""

    title: ClassVar[str] = "Data"

    angles: str | None = setting(
        None,
        "For encoder-decoders: which slots (Q question, A answer, M mcoptions, E explanation, C "
        "context) are inputs and which are outputs, such as 'QM->A, Q->AE'. None: answers, "
        "explanations or both from a question and any other slots of a row.",
    )
    slots: dict[str, str] = setting(
        {},
        "For encoder-decoders: fields or columns of slots that have other names, such as "
        "'question=stem, mcoptions=choices'.",
    )
    vocab_size: Count | None = setting(
        None, "Vocabulary size of the tokenizer that is trained on the data.", "tokens", ge=260
    )
    block_size: Count | None = setting(None, "Length of a training sequence.", "tokens", ge=2)
    validation_fraction: float = setting(
        0.02, "Fraction of the blocks held out for validation.", gt=0, lt=1
    )

    @field_validator("angles", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    @field_validator("slots", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(slot.strip() and field.strip() for slot, _, field in pairs):
            raise ValueError("slots and fields such as question=stem, mcoptions=choices")
        return {slot.strip(): field.strip() for slot, _, field in pairs}
