"""Layers split over ranks: killed, out of budget or sharded besides, a run is the same run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import Progress, Resumed, RunClosed
from tests.cli.commands import Shell
from tests.launch.runs import (
    assert_same_weights,
    assert_verified,
    finish,
    ledger,
    ranks_of,
    saved,
    start,
    wait_until,
    weights,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STEPS = 80
SPLIT = ["--tensor-parallel", "2", "--checkpoint-every", "10", "--validate-every", "35"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("split"), layers=2)
    model = json.loads((shell.folder / "model.json").read_text())
    without_dropout = {**model, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    (shell.folder / "plain.json").write_text(json.dumps(without_dropout))
    return shell


def fit(shell: Shell, run_id: str, ranks: int | None, *args: str) -> None:
    status, out = finish(start(shell, "--run-id", run_id, *args, ranks=ranks))
    assert status == 0, out


@pytest.fixture(scope="module")
def whole(shell: Shell) -> str:
    """A split run that nothing disturbs."""
    fit(shell, "whole", 2, *SPLIT, "--max-steps", str(STEPS))
    return "whole"


def test_each_token_of_a_split_run_is_counted_once(shell: Shell, whole: str) -> None:
    last = ledger(shell).facts(whole, Progress)[-1]
    assert last.body["tokens"] == STEPS * 4 * 32


def test_a_split_run_that_is_killed_goes_on_bit_for_bit(shell: Shell, whole: str) -> None:
    process = start(
        shell, "--run-id", "killed", *SPLIT, "--max-steps", str(STEPS), ranks=2, restarts=2
    )
    wait_until(lambda: saved(shell, "killed", 20), process)
    (rank,) = ranks_of(process, ["1"])
    rank.kill()
    status, out = finish(process)
    assert status == 0, out
    assert_same_weights(shell, whole, "killed")
    assert_verified(shell, "killed")
    (resumed,) = ledger(shell).facts("killed", Resumed)
    assert resumed.body["step"] >= 20


def test_a_budget_stops_split_ranks_together_with_a_checkpoint(shell: Shell, whole: str) -> None:
    used_mj = int(ledger(shell).intervals(whole)["energy_mj"].sum())
    budget_kwh = 1.5 * used_mj / 3.6e9
    args = [
        "--run-id",
        "budget",
        *SPLIT,
        "--max-steps",
        "50000",
        "--budget-kwh",
        str(budget_kwh),
    ]
    status, out = finish(start(shell, *args, ranks=2))
    (closed,) = ledger(shell).facts("budget", RunClosed)
    assert closed.body["status"] == "budget", (status, out)
    assert Path(shell.folder, closed.body["checkpoint"]).exists()


def test_split_and_sharded_over_four_ranks_is_the_run_of_one_process(shell: Shell) -> None:
    import torch

    short = ["--model", "plain.json", "--max-steps", "6", "--validate-every", "6"]
    fit(shell, "four", 4, *short, "--tensor-parallel", "2")
    fit(shell, "one", None, *short, "--batch-size", "8")
    single, four = weights(shell, "one"), weights(shell, "four")
    assert single.keys() == four.keys()
    for name in single:
        torch.testing.assert_close(four[name], single[name], atol=1e-3, rtol=1e-3)
    tokens = [ledger(shell).facts(run, Progress)[-1].body["tokens"] for run in ("one", "four")]
    assert tokens == [6 * 8 * 32] * 2
