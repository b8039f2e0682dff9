"""Under torchrun: ranks that die or are told to stop never change the result, nor hang the run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import CommunicationSampled, Resumed, RunClosed
from tests.cli.commands import Process, Shell
from tests.launch.runs import (
    assert_same_weights,
    assert_verified,
    finish,
    ledger,
    ranks_of,
    saved,
    start,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STEPS = ["--max-steps", "80", "--validate-every", "35", "--accumulate", "2"]
"""Few enough for seconds, enough to be caught in the midst of."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("torchrun"), layers=2)


def begin(
    shell: Shell, run_id: str, strategy: str, restarts: int = 0, warm: bool = True
) -> Process:
    return start(
        shell, *STEPS, "--strategy", strategy, "--checkpoint-every", "10", "--run-id", run_id,
        ranks=2, restarts=restarts, warm=warm,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def whole(request: pytest.FixtureRequest, shell: Shell) -> str:
    """A run that nothing disturbs, by each strategy; its id is the strategy's name."""
    strategy = str(request.param)
    status, out = finish(begin(shell, strategy, strategy))
    assert status == 0, out
    return strategy


def test_a_step_was_watched_for_communication(shell: Shell, whole: str) -> None:
    (watched,) = [fact.body for fact in ledger(shell).facts(whole, CommunicationSampled)]
    assert (watched["step"], watched["ranks"], watched["backend"]) == (10, 2, "gloo")
    assert 0 < watched["exposed_ns"] <= watched["communication_ns"] < watched["step_ns"]


def test_a_rank_that_is_killed_is_started_again_and_the_result_is_the_same(
    shell: Shell, whole: str
) -> None:
    run_id = f"{whole}-killed"
    # Once by torchrun's own command, whose ranks are started as users' are.
    process = begin(shell, run_id, whole, restarts=2, warm=whole == "fsdp")
    wait_until(lambda: saved(shell, run_id, 20), process)
    (rank,) = ranks_of(process, ["1"])
    rank.kill()
    status, out = finish(process)
    assert status == 0, out
    assert_same_weights(shell, whole, run_id)
    assert_verified(shell, run_id)
    (resumed,) = ledger(shell).facts(run_id, Resumed)
    assert resumed.body["step"] >= 20


def test_sigterm_to_one_rank_ends_all_with_a_checkpoint(shell: Shell, whole: str) -> None:
    run_id = f"{whole}-stopped"
    process = begin(shell, run_id, whole)
    wait_until(lambda: saved(shell, run_id, 20), process)
    (rank,) = ranks_of(process, ["1"])
    rank.send_signal(signal.SIGTERM)
    _, out = finish(process)
    closed = ledger(shell).facts(run_id, RunClosed)
    assert [fact.body["status"] for fact in closed] == ["interrupted"], out
    assert Path(shell.folder, closed[0].body["checkpoint"]).exists()
    status, out = finish(begin(shell, run_id, whole))
    assert status == 0, out
    assert_same_weights(shell, whole, run_id)
    resumed = ledger(shell).facts(run_id, Resumed)
    assert [fact.body["lost_mj"] for fact in resumed] == [0]
