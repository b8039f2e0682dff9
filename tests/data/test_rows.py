"""Rows with slots; errors name the file and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carbon_trainer.data.rows import rows_in
from carbon_trainer.data.slots import fields_of_slots
from carbon_trainer.errors import InputError

FIELDS = fields_of_slots({})


def _lines(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(rows_in(path, FIELDS))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_slots_are_found_by_the_names_of_fields(tmp_path: Path) -> None:
    path = _lines(tmp_path, {"question": " why? ", "answer": "so", "id": 7}, "", {"stem": "how?"})
    assert list(rows_in(path, fields_of_slots({"context": "stem"}))) == [
        (f"{path}, line 1", {"Q": "why?", "A": "so"}),
        (f"{path}, line 3", {"C": "how?"}),
    ]


@pytest.mark.parametrize("options", [["honey", "silk"], "(A) honey (B) silk"], ids=["list", "text"])
def test_options_are_a_list_or_a_text(tmp_path: Path, options: Any) -> None:
    ((_, row),) = rows_in(_lines(tmp_path, {"mcoptions": options}), FIELDS)
    assert row == {"M": "(A) honey (B) silk"}


@pytest.mark.parametrize("nothing", [None, "", "  ", []])
def test_what_is_null_or_blank_is_no_slot(tmp_path: Path, nothing: Any) -> None:
    ((_, row),) = rows_in(_lines(tmp_path, {"question": "why?", "mcoptions": nothing}), FIELDS)
    assert row == {"Q": "why?"}


def test_parquet_gives_the_same_rows_as_jsonl(tmp_path: Path) -> None:
    rows = [
        {"question": f"question {i}", "answer": f"answer {i}",
         "mcoptions": [f"answer {i}", "none"] if i % 2 else None}
        for i in range(2100)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    lines = [row for _, row in rows_in(_lines(tmp_path, *rows), FIELDS)]
    table = list(rows_in(tmp_path / "rows.parquet", FIELDS))
    assert [row for _, row in table] == lines
    assert table[2000][0] == f"{tmp_path / 'rows.parquet'}, row 2001"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", "line 1 is not an object"),
        ({"question": 3}, "line 1: field 'question' is not text, as the slot question is"),
        ({"mcoptions": {}}, "field 'mcoptions' is not text or a list of texts"),
        ({"mcoptions": ["a", 2]}, "has an option that is not text"),
        ({"mcoptions": ["x"] * 27}, "has 27 options; the most is 26"),
        ('{"question": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_a_row_that_is_broken_is_named(tmp_path: Path, row: Any, message: str) -> None:
    assert message in _refusal(_lines(tmp_path, row))


def test_a_row_without_slots_names_its_fields_and_the_nearest(tmp_path: Path) -> None:
    message = _refusal(_lines(tmp_path, {"questions": "why?", "id": 1}))
    assert "its fields are 'questions', 'id'. Did you mean questions?" in message
    assert "Name them with --slots, such as question=FIELD." in message


def test_a_table_without_slots_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"stem": ["why?"]}), tmp_path / "rows.parquet")
    assert "its columns are 'stem'" in _refusal(tmp_path / "rows.parquet")


def test_a_broken_table_and_a_file_that_is_gone_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no table")
    assert "is not a readable Parquet file" in _refusal(tmp_path / "broken.parquet")
    for name in ("gone.jsonl", "gone.parquet"):
        assert _refusal(tmp_path / name).startswith(f"cannot read {tmp_path / name}: ")
