"""Macaw from the command line: trained on questions, resumed, exported; what is missing is said."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import Progress
from carbon_trainer.ledger.store import Ledger
from tests.cli.commands import CommandResult, Shell
from tests.data.questions import QUESTIONS

pytestmark = pytest.mark.slow

Train = Callable[..., CommandResult]

TINY = [
    "--recipe", "macaw-tiny", "--vocab-size", "400", "--batch-size", "8", "--max-steps", "12",
    "--checkpoint-every", "5", "--log-every", "1", "--no-host-metering",
]  # fmt: skip


def _losses(shell: Shell, run_id: str) -> list[tuple[int, float]]:
    ledger = Ledger.open(shell.folder / "carbon_runs" / "ledger.sqlite", create=False)
    facts = [fact.body for fact in ledger.facts(run_id, Progress)]
    return [(fact["step"], fact["loss"]) for fact in facts if fact["loss"] is not None]


def _refusal(result: CommandResult) -> str:
    assert result.status == 2
    assert "Traceback" not in result.err
    return result.err


def test_macaw_trains_resumes_bit_for_bit_and_is_exported(
    shell: Shell, carbon_train: Train
) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    result = carbon_train("fit", *TINY, "--data", str(QUESTIONS), "--angles", "QM->A, Q->A")
    assert result.status == 0, result.err
    run_id = shell.run_id()
    place = shell.folder / "carbon_runs" / run_id
    uninterrupted = _losses(shell, run_id)
    assert [step for step, _ in uninterrupted] == list(range(1, 13))
    assert uninterrupted[-1][1] < uninterrupted[0][1] - 1

    again = carbon_train("fit", "--resume", str(place / "checkpoints" / "step-00000005.ckpt"))
    assert again.status == 0, again.out + again.err
    assert _losses(shell, run_id) == uninterrupted + uninterrupted[5:]

    assert carbon_train("export", "last", "--to", "trained").status == 0
    model = AutoModelForSeq2SeqLM.from_pretrained("trained", local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained("trained", local_files_only=True)
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "</s>")
    prompt = tokenizer("$answer$ ; $question$ = Which animal lays eggs?", return_tensors="pt")
    assert prompt["input_ids"][0, -1] == tokenizer.eos_token_id
    with torch.no_grad():
        output = model.generate(input_ids=prompt["input_ids"], max_new_tokens=4, min_new_tokens=4)
    assert tokenizer.decode(output[0]).startswith("<pad>$answer$ =")

    onward = carbon_train(
        "fit", *TINY, "--data", str(QUESTIONS), "--model", "trained", "--max-steps", "2"
    )
    assert onward.status == 0, onward.err


def test_the_report_has_rows_angles_and_the_compute_of_each_half(
    shell: Shell, carbon_train: Train
) -> None:
    args = ["--data", str(QUESTIONS), "--block-size", "32", "--max-steps", "2"]
    result = carbon_train("fit", *TINY, *args)
    assert result.status == 0, result.err
    assert "of 40 rows are longer than 32 tokens and were truncated" in result.out
    place = shell.folder / "carbon_runs" / shell.run_id()
    report = json.loads((place / "report.json").read_text())
    corpus, model = report["corpus"], report["model"]
    assert corpus["rows"] == 40
    assert corpus["cut_rows"] > 0
    assert "QMA->E" in corpus["angles"]
    assert "trained_parameters" not in model
    assert 0 < model["parameters_per_token"] < model["parameters"]
    figures = report["figures"]
    assert figures["training-compute"]["value"] == pytest.approx(
        6 * model["parameters_per_token"] * figures["tokens"]["value"]
    )
    assert 0 < figures["tokens"]["value"] < 2 * 8 * 2 * 32
    page = html.unescape((place / "report.html").read_text())
    assert "40 rows seen as Q->A, QM->A" in page


def test_fields_are_named_by_slots(shell: Shell, carbon_train: Train) -> None:
    rows = [{"stem": f"What is {i} and 1?", "gold": str(i + 1)} for i in range(20)]
    Path("sums.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    flags = [*TINY, "--data", "sums.jsonl", "--max-steps", "2"]
    assert "Name them with --slots" in _refusal(carbon_train("fit", *flags))
    result = carbon_train("fit", *flags, "--slots", "question=stem, answer=gold")
    assert result.status == 0, result.err


def test_missing_data_or_slots_are_reported_before_anything_is_recorded(
    shell: Shell, carbon_train: Train
) -> None:
    data = ["--data", str(QUESTIONS)]
    assert "give JSONL or Parquet with --data" in _refusal(carbon_train("fit", *TINY))
    assert "no slot 'X'" in _refusal(carbon_train("fit", *TINY, *data, "--angles", "X->A"))
    assert "slot 'q'; slots are" in _refusal(carbon_train("fit", *TINY, *data, "--slots", "q=stem"))
    assert "question=stem" in _refusal(carbon_train("fit", *TINY, *data, "--slots", "stem"))
    causal = _refusal(carbon_train("fit", *shell.tiny, "--angles", "Q->A"))
    assert "--angles is for encoder-decoders" in causal
    assert not (shell.folder / "carbon_runs").exists()
