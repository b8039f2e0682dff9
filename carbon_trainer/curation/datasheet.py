"""A dataset's datasheet, for programs and for people.

Its headings follow Gebru et al., Datasheets for Datasets, https://arxiv.org/abs/1803.09010. What
nobody has stated is marked as not stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carbon_trainer.clock import to_datetime
from carbon_trainer.curation import personal
from carbon_trainer.curation.cleaning import Cleaner, Steps
from carbon_trainer.curation.config import PrepareConfig
from carbon_trainer.curation.files import COLUMNS, INDEX, MANIFEST
from carbon_trainer.curation.languages import DETECTION_CHARACTERS
from carbon_trainer.curation.near import PERMUTATIONS, SHINGLE_WORDS
from carbon_trainer.curation.prepare import data_sha256, library_versions
from carbon_trainer.curation.sources import Source
from carbon_trainer.curation.state import Position
from carbon_trainer.data.curated import DATASHEET_KIND
from carbon_trainer.files import sha256_of, size_and_sha256
from carbon_trainer.reports.figures.run_figures import RunFigures

VERSION = 1
TEMPLATE = "datasheet.md.j2"
NOT_DONE = "not asked for"


def datasheet(
    config: PrepareConfig, sources: list[Source], steps: Steps, cleaner: Cleaner,
    position: Position, figures: RunFigures, folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Return a datasheet as JSON types.

    All but ``preparation`` is the same for the same sources, settings and libraries.

    Args:
        config: the settings.
        sources: in order.
        steps: the requested steps.
        cleaner: holds the index of near duplicates.
        position: the counts.
        figures: those of the closed run that prepared the data.
        folder: the dataset's.
    """
    counts = position.counts
    return {
        "kind": DATASHEET_KIND,
        "version": VERSION,
        "name": config.name or folder.resolve().name,
        "made_from": position.made_from,
        "data": {
            "documents": position.documents,
            "characters": position.characters,
            "columns": list(COLUMNS),
            "shards": position.shards,
            "sha256": data_sha256(position.shards),
            "index": {"file": INDEX, **size_and_sha256(folder / INDEX)},
            "inputs": {"file": MANIFEST, **size_and_sha256(folder / MANIFEST)},
        },
        "sources": [_source(source, position) for source in sources],
        "steps": _steps(config, steps, cleaner),
        "licences": counts.get("licences", {}),
        "languages": counts.get("languages", {}) if steps.languages else None,
        "personal_data": _personal(config, steps, counts),
        "explicit_documents": (
            counts.get("explicit", {}).get("documents", 0) if steps.explicit else None
        ),
        "explicit_words": _explicit_words(steps, counts),
        "refused": {
            "licences": counts.get("refused licences", {}),
            "languages": counts.get("refused languages", {}),
            "removal_list": counts.get("removal list", {}),
        },
        "stated": config.datasheet.model_dump(),
        "settings": config.choices(),
        "software": library_versions(),
        "preparation": _preparation(figures),
    }


def _source(source: Source, position: Position) -> dict[str, Any]:
    return {
        "name": source.name,
        "origin": source.origin,
        "licence": source.licence,
        "files": len(source.corpus.files),
        "files_that_were_no_text": source.corpus.skipped,
        "bytes": source.corpus.bytes,
        "sha256": source.corpus.sha256,
        "documents_read": position.counts.get("read", {}).get(source.name, 0),
        "documents_kept": position.counts.get("kept", {}).get(source.name, 0),
        "removed": dict(sorted(position.removed.get(source.name, {}).items())),
    }


def _steps(config: PrepareConfig, steps: Steps, cleaner: Cleaner) -> list[dict[str, str]]:
    """Describe how each step was done, in the order in which they are done."""
    near = cleaner.near
    descriptions = {
        "licences": steps.licences and f"only {', '.join(sorted(steps.licences))} kept",
        "removal list": steps.removal
        and f"documents that {_list_name(config.remove)} names are left out",
        "exact duplicates": "the first of equal texts is kept, by SHA-256 of Unicode's form NFC "
        "with every run of white space made one space",
        "languages": steps.languages
        and f"by lingua, over all its languages, from the first {DETECTION_CHARACTERS:,} "
        f"characters; kept: {', '.join(sorted(steps.languages.codes))}",
        "explicit content": steps.explicit
        and f"{config.explicit}: documents with {config.explicit_words} or more different words "
        f"of {steps.explicit.name}{_by_language(steps)}; nothing else is found, and words do not "
        "tell what a document is about",
        "near duplicates": near
        and f"the first of texts whose Jaccard similarity of runs of {SHINGLE_WORDS} words is "
        f"{near.threshold:g} or more is kept; estimated by MinHash of {PERMUTATIONS} permutations "
        f"with a standard error of {near.standard_error:.3f}; in {near.bands} bands of {near.rows} "
        f"rows, a pair of just that similarity is compared with a chance of {near.chance:.2f}",
        "personal data": steps.personal
        and f"{config.pii}: {', '.join(steps.personal.kinds)}, found by Presidio's patterns "
        f"from a score of {personal.MIN_SCORE} on{_by_model(config.pii_model)}",
    }
    return [
        {"step": name, "done": str(text) if text else NOT_DONE}
        for name, text in descriptions.items()
    ]


def _list_name(path: Path | None) -> str:
    return f"a list of SHA-256 {sha256_of(path)}" if path else "a list"


def _by_language(steps: Steps) -> str:
    if steps.explicit is None or "" in steps.explicit.words:
        return ""
    if steps.languages is None:
        return ", of English, whatever language a document is in"
    return ", each for documents of its language"


def _by_model(model: str | None) -> str:
    if model is None:
        return "; names of people and where they live are not found by patterns"
    return f", and names of people and places by the spaCy model {model}"


def _personal(
    config: PrepareConfig, steps: Steps, counts: Mapping[str, dict[str, int]]
) -> dict[str, Any] | None:
    if steps.personal is None:
        return None
    kinds = dict(sorted(counts.get("personal data", {}).items()))
    return {"action": config.pii, "looked_for": sorted(steps.personal.kinds), "found": kinds}


def _explicit_words(steps: Steps, counts: Mapping[str, dict[str, int]]) -> dict[str, Any] | None:
    """Return which word lists were used, and how many documents had how many of their words."""
    if steps.explicit is None:
        return None
    return {
        "list": steps.explicit.name,
        "sha256": steps.explicit.sha256,
        "words": dict(steps.explicit.words),
        "documents_by_words": {
            words.removeprefix("0"): count
            for words, count in sorted(counts.get("explicit words", {}).items())
        },
        "documents_without_list": dict(sorted(counts.get("no explicit words", {}).items())),
    }


def _preparation(figures: RunFigures) -> dict[str, Any]:
    """Return what the preparing run used, as its own report says."""
    energy, emissions = figures.energy, figures.emissions
    started_ns = figures.started_ns
    return {
        "run_id": figures.run_id,
        "started": None if started_ns is None else to_datetime(started_ns).isoformat(),
        "ended": to_datetime(figures.ended_ns).isoformat(),
        "segments": len(figures.segments),
        "energy_kwh": energy.value,
        "sigma_kwh": energy.sigma,
        "method": energy.method,
        "facility_energy_kwh": figures.facility_energy.value,
        "emissions_kgco2e": emissions.value,
        "emissions_sigma_kgco2e": emissions.sigma,
        "emissions_method": emissions.method,
        "chain": {"seq": figures.head.seq, "sha256": figures.head.sha256},
    }


def datasheet_markdown(sheet: dict[str, Any]) -> str:
    """Return a datasheet for people."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Markdown, not HTML: nothing is to be escaped for a browser.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("carbon_trainer.curation", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["stated"] = lambda text: text or "Not stated."
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(TEMPLATE).render(sheet=sheet)
