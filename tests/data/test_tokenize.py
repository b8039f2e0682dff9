"""From what the user names to blocks, with the record of what they are."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from carbon_trainer.errors import InputError
from tests.data.texts import text_file, tokenized


def test_blocks_hold_the_text_in_order(tmp_path: Path) -> None:
    import torch

    data = tokenized(tmp_path)
    ids = torch.cat([data.train[i]["input_ids"] for i in range(len(data.train))])
    text = (tmp_path / "text.txt").read_text()
    assert text.startswith(data.tokenizer.decode(ids.tolist()))


def test_the_last_blocks_are_held_out(tmp_path: Path) -> None:
    data = tokenized(tmp_path, validation_fraction=0.25)
    blocks = len(data.train) + len(data.validation)
    assert len(data.validation) == round(blocks / 4)
    assert data.train_tokens == len(data.train) * 16
    assert data.validation_tokens == len(data.validation) * 16
    end = data.tokenizer.decode(data.validation[len(data.validation) - 1]["input_ids"].tolist())
    assert end in (tmp_path / "text.txt").read_text() + "<|endoftext|>"


def test_at_least_one_block_is_held_out(tmp_path: Path) -> None:
    assert len(tokenized(tmp_path, validation_fraction=1e-9).validation) == 1


def test_the_record_says_what_the_text_was(tmp_path: Path) -> None:
    data = tokenized(tmp_path, licence="CC0-1.0")
    path = tmp_path / "text.txt"
    assert (data.origin, data.licence, data.files) == (str(path), "CC0-1.0", 1)
    assert data.bytes == path.stat().st_size
    assert data.manifest.read_text().endswith(f"  {data.bytes}  text.txt\n")
    assert data.tokenizer.name == "byte-level BPE of 300 tokens, trained on the corpus"


def test_the_second_time_nothing_is_made_again(tmp_path: Path) -> None:
    import torch

    first = tokenized(tmp_path)
    lines: list[str] = []
    second = tokenized(tmp_path, progress=lines.append)
    assert torch.equal(first.train[0]["input_ids"], second.train[0]["input_ids"])
    assert lines == ["corpus: 1 files, 0.0 MB"]


def test_another_block_size_uses_the_same_tokens(tmp_path: Path) -> None:
    tokenized(tmp_path)
    lines: list[str] = []
    data = tokenized(tmp_path, block_size=8, progress=lines.append)
    assert data.train[0]["input_ids"].shape == (8,)
    assert "packing tokens" not in lines


@pytest.mark.parametrize("change", [{"vocab_size": 280}, {"lines": 61}])
def test_another_text_or_vocabulary_is_tokenized_again(tmp_path: Path, change: dict) -> None:
    first = tokenized(tmp_path)
    assert tokenized(tmp_path, **change).manifest != first.manifest


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    import torch

    first = tokenized(tmp_path)
    expected = first.train[0]["input_ids"]
    tokens = first.manifest.parent / "tokens.bin"
    tokens.write_bytes(b"\1" * tokens.stat().st_size)
    assert torch.equal(tokenized(tmp_path).train[0]["input_ids"], expected)


@pytest.mark.slow
def test_a_pretrained_tokenizer_is_kept(tmp_path: Path) -> None:
    own = tokenized(tmp_path).tokenizer
    own.save_pretrained(tmp_path / "model")
    data = tokenized(tmp_path, tokenizer_source=tmp_path / "model", vocab_size=999)
    assert data.tokenizer.vocab_size == 300
    assert "the model's own" in data.tokenizer.name


def test_a_text_too_small_says_what_there_is_and_what_is_needed(tmp_path: Path) -> None:
    from carbon_trainer.data.tokenize import tokenize

    (tmp_path / "short.txt").write_text("abc")
    with pytest.raises(InputError) as caught:
        tokenize(
            [tmp_path / "short.txt"], vocab_size=300, block_size=16, cache_dir=tmp_path / "cache"
        )
    assert "has 2 tokens; at least 32 are needed, one block of 16 to train on" in str(caught.value)


def test_bad_text_leaves_no_half_written_cache(tmp_path: Path) -> None:
    from carbon_trainer.data.tokenize import tokenize

    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "good"}\nbad\n')
    with pytest.raises(InputError, match="line 2 is not JSON"):
        tokenize([path], vocab_size=300, block_size=16, cache_dir=tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == []


def test_ctrl_c_while_packing_leaves_no_half_written_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(text: str) -> None:
        if text == "packing tokens":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenized(tmp_path, progress=interrupt)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == []


def test_long_corpora_report_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from carbon_trainer.data import tokenize as module

    monkeypatch.setattr(module, "PROGRESS_CHARACTERS", 1000)
    lines: list[str] = []
    tokenized(tmp_path, progress=lines.append)
    assert lines[0] == "corpus: 1 files, 0.0 MB"
    assert sum(text.startswith("read ") for text in lines) == 1
    assert sum(text.startswith("packed ") for text in lines) == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = text_file(tmp_path, lines=60_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    script = (
        "import signal, sys; from pathlib import Path;"
        "from carbon_trainer.data.tokenize import tokenize;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "tokenize([Path(sys.argv[1])], vocab_size=300, block_size=16, cache_dir=Path(sys.argv[2]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "cache")],
        preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = ended.stderr.strip().splitlines()[-1]
    assert f"InputError: cannot write tokenized data to {tmp_path}/cache: File too large" in last
    assert [p.name for p in (tmp_path / "cache").iterdir()] == []
