"""Removal lists: which documents and whose data must not be in a dataset."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from carbon_trainer.curation.lists import reading
from carbon_trainer.errors import InputError, did_you_mean

KINDS = ("id", "sha256", "text", "email", "regex")

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class RemovalList:
    """What must not be in a dataset.

    Attributes:
        ids: of documents.
        hashes: SHA-256 of documents' texts, of the text as it is or with its white space evened.
        patterns: for each entry that is looked for in texts: kind and compiled expression.
    """

    ids: frozenset[str]
    hashes: frozenset[bytes]
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def kind_of(self, doc_id: str, hashes: tuple[bytes, ...], text: str | None) -> str | None:
        """Return the kind of entry that names a document; None where none does.

        Args:
            doc_id: its id.
            hashes: SHA-256 of its text, in each of its forms.
            text: its text; None to look at id and hashes only.
        """
        if doc_id in self.ids:
            return "id"
        if not self.hashes.isdisjoint(hashes):
            return "sha256"
        found = (kind for kind, pattern in self.patterns if text and pattern.search(text))
        return next(found, None)


def read_removal_list(path: Path) -> RemovalList:
    """Read a removal list.

    Args:
        path: CSV with the columns ``kind`` and ``value``, or JSONL with these fields; others are
            for people.

    Raises:
        InputError: naming file, line and what is wrong, if any line of it cannot be understood:
            a list that is obeyed in part would be worse than none.
    """
    ids, hashes = set(), set()
    looked_for: dict[str, list[str]] = {"text": [], "email": [], "regex": []}
    for line, kind, value in _entries(path):
        if kind == "id":
            ids.add(value)
        elif kind == "sha256":
            if not _SHA256.fullmatch(value):
                raise InputError(
                    f"{path}, line {line}: {value!r} is no SHA-256: it has 64 hexadecimal digits."
                )
            hashes.add(bytes.fromhex(value))
        else:
            looked_for[kind].append(_expression(path, line, kind, value))
    joined = {kind: "|".join(looked_for[kind]) for kind in ("text", "email") if looked_for[kind]}
    patterns = [(kind, re.compile(each, re.IGNORECASE)) for kind, each in joined.items()]
    # Expressions stay apart: each may have flags and groups of its own.
    patterns += [("regex", re.compile(each)) for each in looked_for["regex"]]
    return RemovalList(frozenset(ids), frozenset(hashes), tuple(patterns))


def _expression(path: Path, line: int, kind: str, value: str) -> str:
    if kind == "text":
        return re.escape(value)
    if kind == "email":
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
            raise InputError(f"{path}, line {line}: {value!r} is no e-mail address.")
        return rf"(?<![\w.+-]){re.escape(value)}(?![\w-]|\.\w)"
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise InputError(
            f"{path}, line {line}: {value!r} is no regular expression: {error}."
        ) from error
    if pattern.match(""):
        raise InputError(
            f"{path}, line {line}: the expression {value!r} matches every text: write what must be "
            "there."
        )
    return value


def _entries(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and value of each entry."""
    try:
        with (
            reading(path, "removal list"),
            path.open(encoding="utf-8-sig", newline="") as file,
        ):
            rows = _json_rows(path, file) if path.suffix == ".jsonl" else _csv_rows(path, file)
            for line, row in rows:
                yield line, *_entry(path, line, row)
    except csv.Error as error:
        raise InputError(f"{path} is no CSV that can be read: {error}.") from error


def _csv_rows(path: Path, file: Iterator[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(file, strict=True)
    if not {"kind", "value"} <= set(reader.fieldnames or ()):
        raise InputError(f"{path}, line 1: the first line must name the columns kind and value.")
    for row in reader:
        if None in row or None in row.values():
            raise InputError(
                f"{path}, line {reader.line_num} has more or fewer values than line 1."
            )
        yield reader.line_num, row


def _json_rows(path: Path, file: Iterator[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {line} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {line} is not an object with kind and value.")
        yield line, row


def _entry(path: Path, line: int, row: Mapping[str, object]) -> tuple[str, str]:
    kind, value = row.get("kind"), row.get("value")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS)
        raise InputError(
            f"{path}, line {line}: the kind is {kind!r}, not one of {', '.join(KINDS)}.{hint}"
        )
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{path}, line {line} has no value.")
    return kind, value if kind == "regex" else value.strip()
