"""Rows to pairs of tokens: once, the same each time, with a record; batches under Lightning."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from carbon_trainer.errors import InputError
from tests.data.questions import QUESTIONS, tokenized_questions

if TYPE_CHECKING:
    import torch

    from carbon_trainer.data.tokenize import TokenizedData

ROWS = [json.loads(line) for line in QUESTIONS.read_text().splitlines()]


def _text(data: TokenizedData, ids: torch.Tensor) -> str:
    return data.tokenizer.decode(ids.tolist())


def _items(data: TokenizedData) -> list[tuple[str, str]]:
    parts = (data.train, data.validation)
    items = [part[i] for part in parts for i in range(len(part))]
    return [(_text(data, item["input_ids"]), _text(data, item["labels"])) for item in items]


def _file(tmp_path: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _refusal(tmp_path: Path, *paths: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        tokenized_questions(tmp_path, *paths, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_row_is_one_pair_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = tokenized_questions(tmp_path, angles="Q->A", block_size=128)
    assert _items(data) == [
        (f"$answer$ ; $question$ = {row['question']}</s>", f"$answer$ = {row['answer']}</s>")
        for row in ROWS
    ]
    assert len(data.validation) == 8


def test_by_default_rows_get_several_angles_that_they_have_slots_for(
    tmp_path: Path,
) -> None:
    data = tokenized_questions(tmp_path, block_size=256)
    assert data.pairs.angles == ("Q->A, QM->A, QE->A, QME->A, QA->E, QMA->E, Q->AE, QM->AE")
    outputs = [source.partition("$question$")[0] for source, _ in _items(data)]
    assert {"$answer$ ; ", "$explanation$ ; ", "$answer$ ; $explanation$ ; "} == set(outputs)
    for (source, target), row in zip(_items(data), ROWS, strict=True):
        assert row["question"] in source
        assert ("$explanation$" in source + target) <= ("explanation" in row)


def test_the_tokenizer_begins_as_t5s_does_with_padding_and_the_end(tmp_path: Path) -> None:
    data = tokenized_questions(tmp_path)
    assert data.tokenizer.decode([0, 1]) == "<pad></s>"
    assert data.tokenizer.end_of_text == 1


def test_what_is_longer_than_a_block_is_truncated_and_counted(tmp_path: Path) -> None:
    import torch

    lines: list[str] = []
    data = tokenized_questions(tmp_path, block_size=16, progress=lines.append)
    whole = tokenized_questions(tmp_path, block_size=256)
    longer = sum(
        max(len(item["input_ids"]), len(item["labels"])) > 16
        for part in (whole.train, whole.validation)
        for item in (part[i] for i in range(len(part)))
    )
    assert 0 < longer == data.pairs.cut_rows
    assert f"{longer} of 40 rows are longer than 16 tokens and were truncated" in lines
    assert whole.pairs.cut_rows == 0
    for index in range(len(data.train)):
        cut, full = data.train[index]["input_ids"], whole.train[index]["input_ids"]
        assert len(cut) == min(16, len(full))
        assert cut[-1] == 1
        assert torch.equal(cut[:-1], full[: len(cut) - 1])


@pytest.mark.slow
def test_tokens_are_those_of_sources_and_targets_without_padding(tmp_path: Path) -> None:
    from carbon_trainer.data.module import TextDataModule

    data = tokenized_questions(tmp_path)
    batches = TextDataModule(data, batch_size=4, drop_last=False).train_dataloader()
    counts = [
        (batch["tokens"], int(batch["attention_mask"].sum() + (batch["labels"] != -100).sum()))
        for batch in batches
    ]
    assert all(stated == counted for stated, counted in counts)
    assert sum(stated for stated, _ in counts) == data.train_tokens
    sources = sum(len(data.train[i]["input_ids"]) for i in range(len(data.train)))
    assert data.pairs.source_share == sources / data.train_tokens


def test_a_batch_is_filled_up_to_its_longest() -> None:
    import torch

    from carbon_trainer.data.pairs import pad_batch

    items = [
        {"input_ids": torch.tensor([5, 6, 1]), "labels": torch.tensor([7, 1])},
        {"input_ids": torch.tensor([8, 1]), "labels": torch.tensor([9, 9, 1])},
    ]
    batch = pad_batch(items)
    assert batch["input_ids"].tolist() == [[5, 6, 1], [8, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[7, 1, -100], [9, 9, 1]]
    assert batch["tokens"] == 10


def test_a_second_time_comes_from_the_cache_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carbon_trainer.data import tokenize_pairs as module

    first = _items(tokenized_questions(tmp_path))
    monkeypatch.setattr(module, "_write", None)
    assert _items(tokenized_questions(tmp_path)) == first


@pytest.mark.parametrize(
    "changed", [{"seed": 2}, {"angles": "Q->A"}, {"slots": {"answer": "explanation"}}]
)
def test_another_seed_angle_or_slot_tokenizes_again(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    path = _file(tmp_path, *(row for row in ROWS if "explanation" in row))
    first = _items(tokenized_questions(tmp_path, path))
    assert _items(tokenized_questions(tmp_path, path, **changed)) != first


def test_where_rows_lie_does_not_matter_and_other_files_beside_them_are_skipped(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(QUESTIONS, folder / "other.jsonl")
    (folder / "README.md").write_text("Questions.")
    data = tokenized_questions(tmp_path, folder)
    assert _items(data) == _items(tokenized_questions(tmp_path))
    assert data.files == 1


def test_a_worker_process_gets_the_place_not_the_tokens(tmp_path: Path) -> None:
    import torch

    data = tokenized_questions(tmp_path)
    expected = data.train[3]["labels"]
    assert torch.equal(pickle.loads(pickle.dumps(data.train))[3]["labels"], expected)
    with pytest.raises(IndexError):
        data.train[len(data.train)]


def test_without_data_the_message_says_what_to_give(tmp_path: Path) -> None:
    from carbon_trainer.data import tokenize_pairs as module

    with pytest.raises(InputError, match="JSONL or Parquet with --data, whose rows have fields"):
        module.tokenize_pairs(
            [], model="macaw-tiny", vocab_size=400, block_size=64, cache_dir=tmp_path
        )


def test_a_file_of_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Some notes.")
    assert f"{path} has no rows, and macaw-tiny needs them" in _refusal(tmp_path, path)
    assert "has no rows" in _refusal(tmp_path, QUESTIONS, path)


def test_an_angle_whose_slot_no_row_has_is_refused(tmp_path: Path) -> None:
    message = _refusal(tmp_path, angles="Q->A, QC->A")
    assert "--angles has QC->A, and no row of" in message
    assert "has the slot C (context), field 'context'" in message


def test_a_row_that_fits_no_angle_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, {"question": "why?", "answer": "so"}, {"question": "how?"})
    assert f"{path}, line 2 has question, which fits none of the angles Q->A" in _refusal(
        tmp_path, path, angles="Q->A"
    )
    assert "line 2 has only question: by default a question and an answer" in _refusal(
        tmp_path, path
    )


def test_a_single_row_is_too_few(tmp_path: Path) -> None:
    path = _file(tmp_path, {"question": "why?", "answer": "so"})
    assert "has 1 row; at least two are needed" in _refusal(tmp_path, path)


@pytest.mark.slow
def test_a_batch_larger_than_the_rows_is_refused(tmp_path: Path) -> None:
    from carbon_trainer.data.module import TextDataModule

    with pytest.raises(InputError, match="has 32 rows to train on, too few for a batch of 33"):
        TextDataModule(tokenized_questions(tmp_path), batch_size=33)
