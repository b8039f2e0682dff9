"""Datasets that ``carbon-train data prepare`` made: found by, and checked with, a datasheet."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carbon_trainer.data.readers import cannot_read
from carbon_trainer.errors import InputError

DATASHEET = "datasheet.json"
DATASHEET_KIND = "carbon-trainer datasheet"
WORK = ".preparing"
"""Folder of an unfinished preparation's state; removed once the datasheet is written."""


@dataclass(frozen=True)
class CuratedDataset:
    """A dataset that curation made.

    Attributes:
        folder: its folder.
        sheet: its datasheet.
        sheet_sha256: hash of the datasheet's file.
    """

    folder: Path
    sheet: dict[str, Any]
    sheet_sha256: str

    def files(self) -> Iterator[tuple[Path, str, bool]]:
        """Yield file, name and True, as it must be text, for each shard in order.

        Raises:
            InputError: if one is missing.
        """
        for shard in self.sheet["data"]["shards"]:
            path = self.folder / shard["file"]
            if not path.is_file():
                raise InputError(
                    f"{path} is missing, which {DATASHEET} beside it lists: prepare the data again."
                )
            yield path, str(shard["file"]), True

    def check(self, name: str, sha256: str | None) -> None:
        """Check a shard against the datasheet.

        Args:
            name: the shard's file.
            sha256: the file's present hash.

        Raises:
            InputError: if it is not the file that was written.
        """
        written = {shard["file"]: shard["sha256"] for shard in self.sheet["data"]["shards"]}
        if written[name] != sha256:
            raise InputError(
                f"{self.folder / name} is not the file that {DATASHEET} beside it describes: "
                "prepare the data again."
            )

    def citation(self) -> dict[str, Any]:
        """Return what the record of a run that trains on it states about it."""
        data, preparation = self.sheet["data"], self.sheet["preparation"]
        return {
            "name": self.sheet["name"],
            "datasheet_sha256": self.sheet_sha256,
            "data_sha256": data["sha256"],
            "run_id": preparation["run_id"],
            "documents": data["documents"],
            "documents_read": sum(source["documents_read"] for source in self.sheet["sources"]),
            "removed": removed_by_reason(self.sheet),
            "energy_kwh": preparation["energy_kwh"],
            "sigma_kwh": preparation["sigma_kwh"],
            "method": preparation["method"],
        }


def removed_by_reason(sheet: dict[str, Any]) -> dict[str, int]:
    """Return how many documents were left out for each reason, over all sources of a datasheet."""
    counts: dict[str, int] = {}
    for source in sheet["sources"]:
        for reason, count in source["removed"].items():
            counts[reason] = counts.get(reason, 0) + count
    return dict(sorted(counts.items()))


def dataset_at(folder: Path) -> CuratedDataset | None:
    """Return the curated dataset in a folder; None where it is any other folder or file.

    Raises:
        InputError: if its preparation is not finished, or its datasheet cannot be read.
    """
    path = folder / DATASHEET
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if (folder / WORK).is_dir():
            raise InputError(
                f"the preparation of {folder} is not finished: give its `carbon-train data "
                "prepare` command again, it continues where it stopped."
            ) from None
        return None
    except OSError as error:
        # Where the folder itself cannot be entered, name it: the user did not ask for a datasheet.
        place = path if os.access(folder, os.X_OK, effective_ids=True) else folder
        raise cannot_read(place, error) from error
    try:
        sheet = json.loads(raw)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from error
    if not isinstance(sheet, dict) or sheet.get("kind") != DATASHEET_KIND:
        return None  # another program's file of that name
    dataset = CuratedDataset(folder, sheet, hashlib.sha256(raw).hexdigest())
    try:
        # Looks up every field that is used later.
        dataset.citation()
        _ = [(shard["file"], shard["sha256"]) for shard in sheet["data"]["shards"]]
        _ = sheet["licences"], sheet["data"]["columns"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} was changed: it lacks {error}. Prepare the data again."
        ) from error
    return dataset
