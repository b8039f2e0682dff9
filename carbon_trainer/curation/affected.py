"""Which datasets hold what must be forgotten, and which runs were trained with it."""

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

ROWS = 1024


@dataclass(frozen=True)
class Finding:
    """What was found in one dataset.

    Attributes:
        name: of the dataset.
        folder: where it lies, or lay.
        data_sha256: of its data.
        documents: how many are affected, by the way that they were found.
        problem: why it could not be looked into; empty where it was.
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
        """Whether it holds something of the list, or may."""
        return bool(self.documents or self.problem)


def affected(removal: RemovalList, ledger: Ledger, folders: Iterable[Path]) -> list[Finding]:
    """Look into every dataset that the ledger or the user names.

    Args:
        removal: what is to be forgotten.
        ledger: which datasets were prepared and trained with.
        folders: further datasets, or where moved ones lie now.

    Raises:
        InputError: if a folder that the user names is no dataset.
    """
    prepared, trained = _known(ledger)
    named = {}
    for folder in folders:
        dataset = dataset_at(folder)
        if dataset is None:
            raise InputError(f"{folder} is no dataset that `carbon-train data prepare` made.")
        named[dataset.sheet["data"]["sha256"]] = dataset
        prepared.setdefault(dataset.sheet["data"]["sha256"], (dataset.sheet["name"], folder))
    findings = []
    for sha, (name, folder) in prepared.items():
        documents, problem = _look(removal, sha, named.get(sha), folder)
        at = named[sha].folder if sha in named else folder
        findings.append(Finding(name, at, sha, documents, problem, tuple(trained.get(sha, ()))))
    return findings


def _known(ledger: Ledger) -> tuple[dict[str, tuple[str, Path]], dict[str, list[str]]]:
    """Return name and folder of each dataset, and the runs trained with each, by data's hash."""
    prepared: dict[str, tuple[str, Path]] = {}
    trained: dict[str, list[str]] = {}
    for run_id in sorted(ledger.run_ids()):
        for fact in ledger.facts(run_id, DatasetPrepared, CorpusDescribed):
            body: dict[str, Any] = fact.body
            if fact.kind == DatasetPrepared.kind:
                # The same data may have been prepared twice: any folder that is there will do.
                known = prepared.get(body["data_sha256"])
                if known is None or not (known[1] / DATASHEET).is_file():
                    prepared[body["data_sha256"]] = (body["name"], Path(body["folder"]))
                continue
            for one in body.get("prepared", ()):
                runs = trained.setdefault(one["data_sha256"], [])
                prepared.setdefault(one["data_sha256"], (one["name"], Path(one["name"])))
                if run_id not in runs:
                    runs.append(run_id)
    return prepared, trained


def _look(
    removal: RemovalList, sha: str, dataset: CuratedDataset | None, folder: Path
) -> tuple[dict[str, int], str]:
    """Return how many documents are affected, and why it could not be told."""
    try:
        dataset = dataset or dataset_at(folder)
    except InputError as error:
        return {}, str(error)
    if dataset is None or dataset.sheet["data"]["sha256"] != sha:
        return {}, "its folder is not there: name where it is now"
    try:
        return _search(removal, dataset), ""
    except InputError as error:
        return {}, str(error)


def _search(removal: RemovalList, dataset: CuratedDataset) -> dict[str, int]:
    found: Counter[str] = Counter()
    index = dataset.folder / dataset.sheet["data"]["index"]["file"]
    for row in _rows(index, ("id", "sha256", "evened_sha256", "relation")):
        kind = removal.kind_of(row["id"], (row["sha256"], row["evened_sha256"]), None)
        if kind is not None:
            copy = "" if row["relation"] == "kept" else f", by its {row['relation']}"
            found[f"{kind}{copy}"] += 1
    if removal.patterns:
        for path, _, _ in dataset.files():
            found.update(_in_texts(removal, path))
    return dict(sorted(found.items()))


def _in_texts(removal: RemovalList, path: Path) -> Iterator[str]:
    """Yield the kind of what is found in each text of a shard, as it was trained on."""
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
            for batch in file.iter_batches(batch_size=ROWS, columns=list(columns)):
                yield from batch.to_pylist()
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{path} cannot be read: {why}") from error
