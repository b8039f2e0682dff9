"""Documents of one file; errors name the file and the line."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet.encryption import (
    CryptoFactory,
    EncryptionConfiguration,
    KmsClient,
    KmsConnectionConfig,
)

from carbon_trainer.data import readers
from carbon_trainer.data.readers import documents_in, texts_in
from carbon_trainer.errors import InputError


def _file(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def _table(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def _refusal(path: Path, field: str = "text") -> str:
    with pytest.raises(InputError) as caught:
        list(texts_in(path, field))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_text_file_is_one_document_kept_as_it_is(tmp_path: Path) -> None:
    text = "two\r\nlines\n\n of text \u2028 and é\n"
    assert list(texts_in(_file(tmp_path, "a.txt", text), "text")) == [text]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert list(texts_in(_file(tmp_path, "a.txt", "\ufeffx"), "text")) == ["x"]


def test_a_file_of_white_space_has_no_document(tmp_path: Path) -> None:
    assert list(texts_in(_file(tmp_path, "a.txt", " \n\n"), "text")) == []


def test_a_long_text_is_cut_at_line_ends_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PIECE_CHARACTERS", 20)
    text = "".join(f"é line {i}\r\n" for i in range(30))
    pieces = list(texts_in(_file(tmp_path, "a.txt", text), "text"))
    assert "".join(pieces) == text
    assert len(pieces) > 10
    assert all(piece.endswith("\n") for piece in pieces)


def test_a_long_text_without_lines_is_cut_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PIECE_CHARACTERS", 20)
    pieces = list(texts_in(_file(tmp_path, "a.txt", "x" * 205), "text"))
    assert [len(piece) for piece in pieces] == [40, 40, 40, 40, 40, 5]


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"text": "x"}\n\n{"text": \n')
    assert _refusal(path) == (
        f"{path}, line 3 is not JSON: Expecting value at character 11. Fix the line, or remove it."
    )


def test_json_nested_too_deep_is_refused(tmp_path: Path) -> None:
    assert "line 1 is not JSON" in _refusal(_file(tmp_path, "a.jsonl", "[" * 100_000))


def test_a_line_without_the_field_names_the_fields_and_the_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"texts": "x", "id": 1}\n')
    assert _refusal(path) == (
        f"{path}, line 1 has no field 'text'; its fields are 'texts', 'id'. Did you mean texts? "
        "Name it with --text-field."
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"x"', "is not an object with a field 'text'"),
        ('{"text": 3}', "field 'text' is a number, not text"),
        ('{"text": null}', "field 'text' is null, not text"),
        ('{"text": ["x"]}', "field 'text' is a list, not text"),
        ('{"text": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_a_line_whose_field_is_not_text_is_named(tmp_path: Path, line: str, message: str) -> None:
    assert message in _refusal(_file(tmp_path, "a.jsonl", f"{line}\n"))


def test_parquet_rows_come_in_order_without_nulls(tmp_path: Path) -> None:
    texts = [str(i) if i % 7 else None for i in range(3000)]
    path = _table(tmp_path, id=list(range(3000)), text=texts)
    assert list(texts_in(path, "text")) == [text for text in texts if text]


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()],
    ids=str,
)
def test_every_kind_of_text_column_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    path = _table(tmp_path, text=pa.array(["x", "y", "x"], pa.string()).cast(kind))
    assert list(texts_in(path, "text")) == ["x", "y", "x"]


def test_a_table_without_the_column_names_the_columns_and_the_nearest(tmp_path: Path) -> None:
    path = _table(tmp_path, content=["x"], id=[1])
    assert _refusal(path, "contents") == (
        f"{path} has no column 'contents'; its columns are 'content', 'id'. Did you mean content? "
        "Name it with --text-field."
    )


def test_a_column_of_numbers_is_refused(tmp_path: Path) -> None:
    path = _table(tmp_path, text=[1, 2])
    assert _refusal(path) == (
        f"{path}: column 'text' is int64, not text: name another with --text-field."
    )


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.parquet", "no table")
    assert _refusal(path).startswith(f"{path} is not a readable Parquet file: ")


def test_a_table_with_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = _table(tmp_path, text=[f"text {i}" * 9 for i in range(2000)])
    content = bytearray(path.read_bytes())
    content[4:900] = bytes(896)
    path.write_bytes(content)
    assert _refusal(path).startswith(f"{path} is not a readable Parquet file: ")


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_an_encrypted_table_is_named_as_that(tmp_path: Path, plaintext_footer: bool) -> None:
    class _Keys(KmsClient):
        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
            return base64.b64encode(key_bytes)

    properties = CryptoFactory(lambda _: _Keys()).file_encryption_properties(
        KmsConnectionConfig(),
        EncryptionConfiguration(
            footer_key="footer", column_keys={"key": ["text"]}, plaintext_footer=plaintext_footer
        ),
    )
    path, table = tmp_path / "rows.parquet", pa.table({"text": ["x"]})
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    assert _refusal(path) == (f"{path} is an encrypted Parquet file: write it without encryption.")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl", "a.parquet"):
        assert _refusal(tmp_path / name).startswith(f"cannot read {tmp_path / name}: ")


def test_a_compressed_file_reads_as_the_plain_one_does(tmp_path: Path) -> None:
    rows = '{"text": "one"}\n{"text": "two"}\n'
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(rows.encode()))
    assert list(texts_in(path, "text")) == ["one", "two"]


CUT_OFF = gzip.compress(b'{"text": "x"}' * 99)[:-9]


@pytest.mark.parametrize("damage", [b"no gzip", CUT_OFF], ids=["no gzip", "cut off"])
def test_a_packed_file_that_is_damaged_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(damage)
    assert "gzip file" in _refusal(path)
    assert "ompress it again" in _refusal(path)


def test_a_packed_line_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "x"}\n{"text": "\xe9"}\n'))
    assert "line 2 is not JSON: it is not UTF-8 (byte 10)." in _refusal(path)


def test_id_and_licence_of_a_row_are_read_where_it_has_them(tmp_path: Path) -> None:
    rows = '{"text": "a", "id": 7, "license": "MIT"}\n\n{"text": "b", "id": null}\n'
    first, second = documents_in(_file(tmp_path, "a.jsonl", rows), "text")
    assert (first.row, first.id, first.licence) == (1, "7", "MIT")
    assert (second.row, second.id, second.licence) == (3, None, None)
    table = _table(tmp_path, text=["a", "", "b"], id=["x", "y", "z"], licence=[None, "MIT", "MIT"])
    first, second = documents_in(table, "text")
    assert (first.row, first.id, first.licence) == (1, "x", None)
    assert (second.row, second.id, second.licence) == (3, "z", "MIT")
