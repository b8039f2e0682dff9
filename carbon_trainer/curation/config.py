"""What a preparation can be told. The same names serve as YAML keys and as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from carbon_trainer.config import Count, RunConfig, setting

OF_A_RUN = (
    "text_field", "data_licence", "budget_kwh", "budget_kgco2e", "budget_cost", "price_per_kwh",
    "currency", "zone", "pue", "name", "project", "user", "organisation", "purpose", "operation",
    "runs_dir", "ledger", "host_metering", "progress",
)  # fmt: skip
"""Settings that a preparation shares with every run."""


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


class PrepareConfig(RunConfig):
    """A run that prepares data: what to leave out, and what it may use.

    Raises:
        pydantic.ValidationError: as RunConfig; ``from_sources`` turns it into one InputError.
    """

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
        None, "Removal list, CSV or JSONL with kind (id, sha256, text, email, regex) and value."
    )
    languages: list[str] = setting(
        [], "Keep only these languages, by ISO 639-1 code: en,de; any: only tell them."
    )
    near_duplicates: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] | None = setting(
        None, "Leave out documents whose Jaccard similarity with a kept one is this or more."
    )
    pii: Literal["redact", "drop", "keep"] | None = setting(
        None, "Look for personal data: redact it, drop its documents, or keep and only count it."
    )
    pii_model: str | None = setting(
        None, "Installed spaCy model that finds names and places too, such as en_core_web_lg."
    )
    explicit: Literal["drop", "keep"] | None = setting(
        None, "Look for explicit words: drop their documents, or keep and only count them."
    )
    blocklist: Path | None = setting(
        None, "Explicit words of your own, one or a phrase on each line; others then do not count."
    )
    explicit_words: Count = setting(
        1, "Different explicit words that make a document explicit.", "words"
    )
    shard_mb: Count = setting(64, "Text in a shard.", "MB", le=4096)

    @field_validator("languages", "licences", mode="before")
    @classmethod
    def _commas_part_a_list(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            return value
        return [part.strip() for text in texts for part in text.split(",") if part.strip()]

    @model_validator(mode="after")
    def _steps_are_whole(self) -> PrepareConfig:
        if self.blocklist is not None and self.explicit is None:
            raise ValueError("blocklist needs explicit: drop or keep")
        if self.pii_model is not None and self.pii is None:
            raise ValueError("pii_model needs pii: redact, drop or keep")
        return self

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """Return the settings of a preparation by name; those of training are none."""
        own = [name for name in cls.model_fields if name not in RunConfig.model_fields]
        return {name: cls.model_fields[name] for name in (*own, *OF_A_RUN)}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON types, as the ledger keeps them."""
        known = self.settings()
        values = {name: value for name, value in super().to_json().items() if name in known}
        return values | {"data": [str(path) for path in self.data]}

    def choices(self) -> dict[str, Any]:
        """Return the settings that decide which documents are kept, and how."""
        names = (
            "text_field", "data_licence", "licences", "languages", "near_duplicates", "pii",
            "pii_model", "explicit", "explicit_words", "shard_mb",
        )  # fmt: skip
        values = self.to_json()
        return {name: values[name] for name in names}
