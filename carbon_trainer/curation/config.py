"""Settings of a preparation of data. The same names serve as YAML keys and as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from carbon_trainer.config.base import Count, Section, setting
from carbon_trainer.config.data import TextSettings
from carbon_trainer.config.run import MeteredConfig


class SourceSettings(BaseModel):
    """One source of text, as prepare.yaml describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    name: str = ""
    licence: str | None = None
    origin: str = ""


class SheetText(BaseModel):
    """What only people can say of a dataset, for its datasheet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    motivation: str = ""
    collection: str = ""
    uses: str = ""
    distribution: str = ""
    maintenance: str = ""


class CleaningSettings(Section):
    """Where to, and which documents are left out."""

    title: ClassVar[str] = "Preparation"

    to: Path | None = setting(None, "Folder to write the dataset into.")
    sources: list[SourceSettings] = setting(
        [], "Sources with name, licence and origin; only in a file."
    )
    datasheet: SheetText = setting(
        SheetText(), "Motivation, collection, uses, distribution, maintenance; only in a file."
    )
    licences: list[str] = setting(
        [], "Keep only documents of these licences, by SPDX name: CC0-1.0,MIT."
    )
    remove: Path | None = setting(
        None, "Removal list: CSV or JSONL with kind (id, sha256, text, email, regex) and value."
    )
    languages: list[str] = setting(
        [], "Keep only these languages, by ISO 639-1 code: en,de; any: only detect them."
    )
    near_duplicates: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] | None = setting(
        None, "Remove documents whose Jaccard similarity with a kept one is this or more."
    )
    pii: Literal["redact", "drop", "keep"] | None = setting(
        None, "Detect personal data: redact it, drop its documents, or keep and only count it."
    )
    pii_model: str | None = setting(
        None, "Installed spaCy model to detect names and places too, such as en_core_web_lg."
    )
    explicit: Literal["drop", "keep"] | None = setting(
        None, "Detect explicit words: drop their documents, or keep and only count them."
    )
    blocklist: Path | None = setting(
        None, "Your own explicit words or phrases, one on each line, instead of the usual ones."
    )
    explicit_words: Count = setting(
        1, "Number of different explicit words that make a document explicit.", "words"
    )
    shard_mb: Count = setting(64, "Size of a shard's text.", "MB", le=4096)

    @field_validator("languages", "licences", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            return value
        return [part.strip() for text in texts for part in text.split(",") if part.strip()]

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.blocklist is not None and self.explicit is None:
            raise ValueError("blocklist needs explicit: drop or keep")
        if self.pii_model is not None and self.pii is None:
            raise ValueError("pii_model needs pii: redact, drop or keep")
        return self


# Fields come from the last base to the first, and so do a printed config's and --help's lines.
class PrepareConfig(MeteredConfig, TextSettings, CleaningSettings):
    """All settings of a preparation: what to leave out, and what it may use.

    Raises:
        pydantic.ValidationError: as RunConfig; ``from_sources`` turns it into one InputError.
    """

    command: ClassVar[str] = "data prepare"
    nested: ClassVar[tuple[str, ...]] = ("sources", "datasheet")

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Return the settings that a file or flags may have; ``data`` are arguments."""
        return {name: field for name, field in cls.model_fields.items() if name != "data"}

    def choices(self) -> dict[str, Any]:
        """Return the settings that decide which documents are kept, and how."""
        names = (
            "text_field", "data_licence", "licences", "languages", "near_duplicates", "pii",
            "pii_model", "explicit", "explicit_words", "shard_mb",
        )  # fmt: skip
        values = self.to_json()
        return {name: values[name] for name in names}
