"""The supervisor: again after a crash, back after a release, and never for nothing."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from carbon_trainer.clock import VirtualClock
from carbon_trainer.launch.supervisor import Supervisor, command_of
from carbon_trainer.ledger.facts import Resumed, RunClosed
from carbon_trainer.runs.checkpoints import commit, latest_valid, path_of
from carbon_trainer.runs.outcome import RESUME_NOW
from tests.cli.commands import Process, Shell
from tests.launch.runs import (
    assert_same_weights,
    assert_verified,
    environment,
    finish,
    ledger,
    loaded_libraries,
    run_dir,
    saved,
    start,
    wait_until,
)
from tests.warm import WarmProcess

pytestmark = pytest.mark.timeout(1200)

S = 1_000_000_000


class Scripted:
    """A command whose starts end as a script says."""

    def __init__(self, tmp_path: Path, *ends: int | Callable[[Path], int], restarts: int = 3):
        self.run_dir = tmp_path / "run"
        (self.run_dir / "checkpoints").mkdir(parents=True)
        self.clock = VirtualClock()
        self.begun_ns = self.clock.now_ns()
        self.messages: list[str] = []
        self.restarts_requested: list[bool] = []
        self._ends = list(ends)
        self.return_ns = 0
        self.supervisor = Supervisor(
            self._command,
            run_id="run",
            runs_dir=tmp_path,
            return_time_ns=lambda: self.return_ns,
            report_failure=lambda: self.messages.append("report"),
            max_restarts=restarts,
            clock=self.clock,
            say=self.messages.append,
        )

    def _command(self, is_restart: bool) -> Sequence[str]:
        self.restarts_requested.append(is_restart)
        end = self._ends.pop(0)
        status = end(self.run_dir) if callable(end) else end
        code = f"import os; os.kill(os.getpid(), {-status})" if status < 0 else f"exit({status})"
        return [sys.executable, "-c", code]

    def release(self, seconds: float) -> Callable[[Path], int]:
        """Return an end that wants to come back after a time."""

        def end(_: Path) -> int:
            self.return_ns = self.clock.now_ns() + round(seconds * S)
            return 75

        return end

    @property
    def waited_s(self) -> float:
        return (self.clock.now_ns() - self.begun_ns) / S


def checkpoint(step: int, status: int) -> Callable[[Path], int]:
    """Return an end that has saved a checkpoint before."""

    def end(folder: Path) -> int:
        partial = folder / "checkpoints" / "step.partial"
        partial.write_text("weights")
        commit(partial, path_of(folder / "checkpoints", step))
        return status

    return end


@pytest.mark.parametrize("status", [0, 2, 3, 4, 130, 143])
def test_ends_that_a_restart_would_not_change_are_passed_on(tmp_path: Path, status: int) -> None:
    scripted = Scripted(tmp_path, status)
    assert scripted.supervisor.run() == status
    assert scripted.restarts_requested == [False]


@pytest.mark.slow
def test_after_a_crash_it_is_started_again_and_told_so(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, 1, -9, 0)
    assert scripted.supervisor.run() == 0
    assert scripted.restarts_requested == [False, True, True]
    assert scripted.waited_s == pytest.approx(1 + 2)
    assert "was killed by SIGKILL" in scripted.messages[1]


@pytest.mark.slow
def test_it_gives_up_after_so_many_crashes_without_progress(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, 1, 1, 1, restarts=2)
    assert scripted.supervisor.run() == 1
    assert scripted.supervisor.gave_up
    assert "given up after 2 restarts" in scripted.messages[-2]
    assert scripted.messages[-1] == "report"


@pytest.mark.slow
def test_a_new_checkpoint_is_progress(tmp_path: Path) -> None:
    crashes = [checkpoint(step, 1) for step in range(1, 6)]
    scripted = Scripted(tmp_path, *crashes, 0, restarts=1)
    assert scripted.supervisor.run() == 0
    assert scripted.supervisor.restarts == 5


@pytest.mark.slow
def test_a_released_run_is_started_again_at_its_time(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, 0)
    scripted._ends = [scripted.release(7200), 0]
    assert scripted.supervisor.run() == 0
    assert scripted.waited_s == pytest.approx(7200)


def test_somebody_may_ask_for_a_released_run(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, 0)
    scripted._ends = [scripted.release(7200), 0]
    (scripted.run_dir / RESUME_NOW).touch()
    assert scripted.supervisor.run() == 0
    assert scripted.waited_s < 1
    assert not (scripted.run_dir / RESUME_NOW).exists()


def test_a_signal_while_it_is_released_ends_it(tmp_path: Path) -> None:
    scripted = Scripted(tmp_path, 0)
    scripted._ends = [scripted.release(7200), 0]
    clock_wait = scripted.clock.wait

    def interrupted(seconds: float, until: object = None) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return clock_wait(seconds, until)  # type: ignore[arg-type]

    scripted.clock.wait = interrupted  # type: ignore[method-assign,assignment]
    assert scripted.supervisor.run() == 143


def test_the_users_own_command_is_what_is_run_again() -> None:
    argv = ["carbon-train", "fit", "run.yaml", "--supervise", "--resume", "last", "--seed", "3"]
    first = command_of(argv, "r1", is_restart=False)[3:]
    restart = command_of(argv, "r1", is_restart=True)[3:]
    assert first == ["fit", "run.yaml", "--resume", "last", "--seed", "3"]
    assert restart == ["fit", "run.yaml", "--seed", "3", "--run-id", "r1"]


# With real runs


STEPS = ["--max-steps", "600", "--validate-every", "250", "--checkpoint-every", "50"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("supervised"))
    status, out = finish(start(shell, *STEPS, "--run-id", "whole"))
    assert status == 0, out
    return shell


def children(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_its_lost_work_is_booked(shell: Shell) -> None:
    process = start(shell, *STEPS, "--run-id", "killed", "--supervise")
    wait_until(lambda: saved(shell, "killed", 100), process)
    children(process)[0].kill()
    status, out = finish(process)
    assert status == 0, out
    assert "was killed by SIGKILL" in out
    assert_same_weights(shell, "whole", "killed")
    assert_verified(shell, "killed")
    (resumed,) = ledger(shell).facts("killed", Resumed)
    assert resumed.body["step"] >= 100
    assert 0 < resumed.body["lost_mj"] < resumed.body["energy_before_mj"]


KILLED_AT_ITS_END = """
import os, signal, time
from carbon_trainer.cli.main import main
from carbon_trainer.runs.session import RunSession
def close(session, outcome=None):
    while session.head.seq == 0:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
RunSession.close = close
main()
"""


@pytest.mark.slow
def test_a_run_that_was_killed_after_its_last_step_is_closed_by_the_next_start(
    shell: Shell,
) -> None:
    command = ["-c", KILLED_AT_ITS_END, "fit", *shell.tiny, "--run-id", "ending"]
    env = environment()
    process = WarmProcess(command, cwd=shell.folder, env=env, stderr=subprocess.STDOUT)
    status, out = finish(process)
    assert status == -signal.SIGKILL, out
    assert not ledger(shell).facts("ending", RunClosed)
    for closes in (True, False):
        status, out = finish(start(shell, "--run-id", "ending"))
        assert status == 0, out
        assert "run ending has completed all of its 12 steps." in out
        assert ("finished: all steps are done; the process was killed" in out) == closes
    (closed,) = ledger(shell).facts("ending", RunClosed)
    assert (closed.body["status"], closed.body["step"]) == ("finished", 12)
    assert closed.body["tokens"] == 12 * 4 * 32
    assert ledger(shell).energy_mj("ending") > 0
    assert (run_dir(shell, "ending") / "report.html").exists()
    assert_verified(shell, "ending")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(shell: Shell) -> None:
    process = start(shell, *STEPS, "--run-id", "damaged")
    wait_until(lambda: saved(shell, "damaged", 150), process)
    process.kill()
    finish(process)
    newest = latest_valid(run_dir(shell, "damaged") / "checkpoints")
    assert newest is not None
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    status, out = finish(start(shell, *STEPS, "--run-id", "damaged"))
    assert status == 0, out
    assert f"{newest.name} is damaged" in out
    assert_same_weights(shell, "whole", "damaged")


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(shell: Shell) -> None:
    rarely = [*STEPS, "--checkpoint-every", "600", "--run-id", "early"]
    process = start(shell, *rarely)
    metrics = run_dir(shell, "early") / "metrics" / "metrics.csv"
    # What a run was asked to do is written in the background: it may train before that is there.
    wait_until(lambda: metrics.exists() and ledger(shell).head("early").seq > 0, process)
    process.kill()
    finish(process)
    status, out = finish(start(shell, *rarely))
    assert status == 0, out
    assert_same_weights(shell, "whole", "early")
    (resumed,) = ledger(shell).facts("early", Resumed)
    assert (resumed.body["step"], resumed.body["checkpoint"]) == (0, "")


def dirty_now(shell: Shell) -> Path:
    """Write a trace by which the grid is dirty for hours, and clean then."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    rows = ["time_utc,gco2e_per_kwh"]
    for slot in range(12 * 12):
        time = begin + timedelta(minutes=5 * slot)
        rows.append(f"{time.isoformat()},{700 if slot < 36 else 30}")
    path = shell.folder / "dirty.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_a_run_releases_itself_and_comes_back_when_asked_to(shell: Shell) -> None:
    trace = dirty_now(shell)
    steps = ["--max-steps", "1600", "--validate-every", "1600", "--checkpoint-every", "1600"]
    status, out = finish(start(shell, *steps, "--run-id", "long"))
    assert status == 0, out
    process = start(
        shell, *steps, "--run-id", "released", "--supervise", "--trace", str(trace),
        "--deadline", "8h", "--throttle", "off",
    )  # fmt: skip
    wait_until(
        lambda: (
            (shell.folder / "carbon_runs" / "ledger.sqlite").exists()
            and any(
                fact.body["status"] == "released"
                for fact in ledger(shell).facts("released", RunClosed)
            )
        ),
        process,
    )
    assert loaded_libraries(process.pid) == set()
    resume = subprocess.run(
        [sys.executable, "-m", "carbon_trainer", "runs", "resume-now", "released"],
        cwd=shell.folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resume.returncode == 0, resume.stderr
    wait_until(lambda: len(ledger(shell).facts("released", Resumed)) == 1, process)
    released = ledger(shell).facts("released", RunClosed)[0]
    assert released.body["exit_status"] == 75
    assert "the grid is expected at 30 gCO2e/kWh then" in released.body["reason"]
    # The run would release itself again, and may have.
    process.send_signal(signal.SIGTERM)
    status, out = finish(process)
    assert status == 143, out
    assert "resuming now, as requested" in out
    *before, last = [fact.body["status"] for fact in ledger(shell).facts("released", RunClosed)]
    assert set(before) == {"released"}
    assert last in ("released", "interrupted")
    status, out = finish(start(shell, *steps, "--resume", "released", "--max-wait", "1s"))
    assert status == 0, out
    assert_same_weights(shell, "long", "released")
    lost = [fact.body["lost_mj"] for fact in ledger(shell).facts("released", Resumed)]
    assert lost == [0] * len(lost)
    assert not math.isnan(sum(lost))
