"""Finds datasets that hold text to be deleted, and the runs that were trained with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carbon_trainer.curation.removal import RemovalList
from carbon_trainer.data.curated import DATASHEET, CuratedDataset, dataset_at
from carbon_trainer.errors import InputError
from carbon_trainer.ledger.facts import CorpusDescribed, DatasetPrepared
from carbon_trainer.ledger.store import Ledger

BATCH_ROWS = 1024


@dataclass(frozen=True)
class Finding:
    """One dataset, compared with a removal list.

    Attributes:
        name: the dataset's.
        folder: its present or last known folder.
        data_sha256: hash of its data.
        documents: affected documents by how they matched.
        problem: why it could not be searched; empty where it was.
        runs: the runs that were trained with it.
    """

    name: str
    folder: Path
    data_sha256: str
    documents: dict[str, int]
    problem: str
    runs: tuple[str, ...]

    @property
    def is_affected(self) -> bool:
        """Whether it holds an entry of the list, or could not be searched."""
        return bool(self.documents or self.problem)


def find_affected(removal: RemovalList, ledger: Ledger, folders: Iterable[Path]) -> list[Finding]:
    """Search every dataset that the ledger or the user names.

    Args:
        removal: what is to be deleted.
        ledger: records which datasets were prepared, and which runs were trained with them.
        folders: further datasets, or the present folders of moved ones.

    Raises:
        InputError: if a folder that the user names is not a dataset.
    """
    recorded, runs = _recorded_datasets(ledger)
    datasets_named = {}
    for folder in folders:
        dataset = dataset_at(folder)
        if dataset is None:
            raise InputError(f"{folder} is not a dataset made by `carbon-train data prepare`.")
        sha256 = dataset.sheet["data"]["sha256"]
        datasets_named[sha256] = dataset
        recorded.setdefault(sha256, (dataset.sheet["name"], folder))
    findings = []
    for sha256, (name, recorded_folder) in recorded.items():
        documents, problem = _search(removal, sha256, datasets_named.get(sha256), recorded_folder)
        folder = datasets_named[sha256].folder if sha256 in datasets_named else recorded_folder
        findings.append(
            Finding(name, folder, sha256, documents, problem, tuple(runs.get(sha256, ())))
        )
    return findings


def _recorded_datasets(ledger: Ledger) -> tuple[dict[str, tuple[str, Path]], dict[str, list[str]]]:
    """Return each dataset's name and folder, and the runs trained with it, by its data's hash."""
    datasets: dict[str, tuple[str, Path]] = {}
    runs: dict[str, list[str]] = {}
    for run_id in sorted(ledger.run_ids()):
        for fact in ledger.facts(run_id, DatasetPrepared, CorpusDescribed):
            body: dict[str, Any] = fact.body
            if fact.kind == DatasetPrepared.kind:
                # The same data may have been prepared twice: any folder that still exists will do.
                earlier = datasets.get(body["data_sha256"])
                if earlier is None or not (earlier[1] / DATASHEET).is_file():
                    datasets[body["data_sha256"]] = (body["name"], Path(body["folder"]))
                continue
            for dataset in body.get("prepared", ()):
                sha256, name = dataset["data_sha256"], dataset["name"]
                # The preparing run may be in another ledger, which leaves the name to search by.
                datasets.setdefault(sha256, (name, Path(name)))
                if run_id not in runs.setdefault(sha256, []):
                    runs[sha256].append(run_id)
    return datasets, runs


def _search(
    removal: RemovalList, sha256: str, dataset: CuratedDataset | None, folder: Path
) -> tuple[dict[str, int], str]:
    """Return how many documents are affected, and why it could not be searched."""
    try:
        dataset = dataset or dataset_at(folder)
    except InputError as error:
        return {}, str(error)
    if dataset is None or dataset.sheet["data"]["sha256"] != sha256:
        return {}, "its folder is missing: give its present folder"
    try:
        return _count_matches(removal, dataset), ""
    except InputError as error:
        return {}, str(error)


def _count_matches(removal: RemovalList, dataset: CuratedDataset) -> dict[str, int]:
    counts: Counter[str] = Counter()
    index = dataset.folder / dataset.sheet["data"]["index"]["file"]
    for row in _rows(index, ("id", "sha256", "evened_sha256", "relation")):
        kind = removal.kind_of(row["id"], (row["sha256"], row["evened_sha256"]), None)
        if kind is not None:
            # A document that was left out as a copy counts: its original has the same text.
            copy = "" if row["relation"] == "kept" else f", by its {row['relation']}"
            counts[f"{kind}{copy}"] += 1
    if removal.patterns:
        for path, _, _ in dataset.files():
            counts.update(_matching_kinds(removal, path))
    return dict(sorted(counts.items()))


def _matching_kinds(removal: RemovalList, path: Path) -> Iterator[str]:
    """Yield the kind of entry that matches each text of a shard, as it was trained on."""
    for row in _rows(path, ("text",)):
        text = row["text"]
        for kind, pattern in removal.patterns:
            if pattern.search(text):
                yield kind
                break


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{path} cannot be read: {reason}") from error
