"""A removal list is understood wholly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbon_trainer.curation.removal import RemovalList, read_removal_list
from carbon_trainer.curation.texts import normalize, sha256
from carbon_trainer.errors import InputError

HASH = sha256("secret text").hex()


def _list(tmp_path: Path, *entries: str) -> RemovalList:
    path = tmp_path / "list.csv"
    path.write_text("kind,value\n" + "".join(f"{entry}\n" for entry in entries))
    return read_removal_list(path)


def _kind(removal: RemovalList, text: str, doc_id: str = "d") -> str | None:
    return removal.kind_of(doc_id, (sha256(text), sha256(normalize(text))), text)


@pytest.mark.parametrize(
    ("entry", "text", "matches"),
    [
        ("text,Jane Doe", "by JANE DOE, 2001", True),
        ("text,Jane Doe", "by John Doe", False),
        ("text,a.b", "axb", False),
        ("email,jane@example.com", "<Jane@Example.com>", True),
        ("email,jane@example.com", "mary-jane@example.com", False),
        ("email,jane@example.com", "jane@example.com.au", False),
        ("email,jane@example.com", "jane@example.com. Yours", True),
        (r"regex,\bID-\d{4}\b", "her ID-1234", True),
        (r"regex,(?i)\bid-\d{4}\b", "her ID-1234", True),
        (r"regex,\bID-\d{4}\b", "her ID-12345", False),
        (f"sha256,{HASH}", "secret text", True),
        (f"sha256,{HASH.upper()}", "secret \n text ", True),
        (f"sha256,{HASH}", "secret texts", False),
    ],
)
def test_what_is_in_a_text_is_found(tmp_path: Path, entry: str, text: str, matches: bool) -> None:
    kind = entry.split(",")[0]
    assert _kind(_list(tmp_path, entry), text) == (kind if matches else None)


def test_a_document_is_found_by_its_id(tmp_path: Path) -> None:
    removal = _list(tmp_path, "id,doc-7")
    assert _kind(removal, "anything", "doc-7") == "id"
    assert _kind(removal, "anything", "doc-77") is None


def test_a_list_may_be_jsonl_and_have_notes(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"kind": "id", "value": "7", "note": "asked by letter"}\n\n')
    assert read_removal_list(path).ids == {"7"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("emial,a@b.c", "line 3: the kind is 'emial', not one of"),
        ("emial,a@b.c", "Did you mean email"),
        ("id,", "line 3 has no value."),
        ("id,a,b", "line 3 has more or fewer values than line 1."),
        ("sha256,12ab", "line 3: '12ab' is not a SHA-256 of 64 hexadecimal digits."),
        ("email,jane", "line 3: 'jane' is not an e-mail address."),
        ("regex,(", "line 3: '(' is not a regular expression: "),
        ("regex,x*", "line 3: the expression 'x*' matches every text"),
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _list(tmp_path, "id,fine", entry)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"who,what\n1,2\n",
            "line 1: the first line must name the columns kind and value",
        ),
        ("a.csv", b"", "line 1: the first line must name"),
        ("a.csv", b"kind,value\nid,\xff\n", "is not UTF-8 text"),
        ("a.jsonl", b'{"kind": "id", "value": "7"}\n{', "line 2 is not JSON"),
        ("a.jsonl", b"[7]\n", "line 1 is not an object with kind and value."),
    ],
)
def test_a_file_that_is_no_list_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_removal_list(path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no removal list"):
        read_removal_list(tmp_path / "none.csv")
