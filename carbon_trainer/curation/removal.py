"""Removal lists: the documents and personal data that must not be in a dataset."""

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
    """Entries that must not be in a dataset.

    Attributes:
        ids: of documents.
        hashes: SHA-256 of documents' texts, as they are or with normalized white space.
        patterns: kind and compiled expression of the entries that are searched for in texts.
    """

    ids: frozenset[str]
    hashes: frozenset[bytes]
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    def kind_of(self, doc_id: str, hashes: tuple[bytes, ...], text: str | None) -> str | None:
        """Return the kind of the first entry that matches a document; None where none does.

        Args:
            doc_id: its id.
            hashes: SHA-256 of its text, in each of its forms.
            text: its text; None to compare id and hashes only.
        """
        if doc_id in self.ids:
            return "id"
        if not self.hashes.isdisjoint(hashes):
            return "sha256"
        kinds = (kind for kind, pattern in self.patterns if text and pattern.search(text))
        return next(kinds, None)


def read_removal_list(path: Path) -> RemovalList:
    """Read a removal list.

    Args:
        path: CSV with the columns ``kind`` and ``value``, or JSONL with these fields; others are
            for people.

    Raises:
        InputError: if any line is invalid, with file, line and reason: applying a list in part
            would be worse than not applying it.
    """
    ids, hashes = set(), set()
    expressions: dict[str, list[str]] = {"text": [], "email": [], "regex": []}
    for line, kind, value in _entries(path):
        if kind == "id":
            ids.add(value)
        elif kind == "sha256":
            if not _SHA256.fullmatch(value):
                raise InputError(
                    f"{path}, line {line}: {value!r} is not a SHA-256 of 64 hexadecimal digits."
                )
            hashes.add(bytes.fromhex(value))
        else:
            expressions[kind].append(_expression(path, line, kind, value))
    joined = {kind: "|".join(expressions[kind]) for kind in ("text", "email") if expressions[kind]}
    patterns = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in joined.items()]
    # Not joined: each may have flags and groups of its own.
    patterns += [("regex", re.compile(pattern)) for pattern in expressions["regex"]]
    return RemovalList(frozenset(ids), frozenset(hashes), tuple(patterns))


def _expression(path: Path, line: int, kind: str, value: str) -> str:
    if kind == "text":
        return re.escape(value)
    if kind == "email":
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
            raise InputError(f"{path}, line {line}: {value!r} is not an e-mail address.")
        # Not within a longer address; a full stop after it ends a sentence, not the domain.
        return rf"(?<![\w.+-]){re.escape(value)}(?![\w-]|\.\w)"
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise InputError(
            f"{path}, line {line}: {value!r} is not a regular expression: {error}."
        ) from error
    if pattern.match(""):
        raise InputError(
            f"{path}, line {line}: the expression {value!r} matches every text: make it "
            "more specific."
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
        raise InputError(f"{path} is not valid CSV: {error}.") from error


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
