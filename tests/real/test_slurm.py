"""A real Slurm: a job releases its node, is started again at its window, and is one run."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from carbon_trainer.ledger.facts import Resumed, RunClosed, RunOpened
from tests.cli.commands import Shell
from tests.launch.runs import assert_same_weights, assert_verified, environment, ledger

pytestmark = pytest.mark.real

STEPS = ["--validate-every", "4000", "--checkpoint-every", "500", "--throttle", "off"]
LONG = ["--max-steps", "4000"]
"""Enough work for a wait to be worth a new start, however busy the machine."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm of one node; its environment."""
    state = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        ["bash", str(Path(__file__).with_name("slurm_start.sh")), str(state)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = started.stdout.strip().rpartition("=")[2]
    yield environment(SLURM_CONF=config)
    for daemon in ("ctld.pid", "d.pid"):
        os.kill(int((state / daemon).read_text()), signal.SIGTERM)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("jobs"))


def call(shell: Shell, slurm: dict[str, str], *args: str) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(
        args, cwd=shell.folder, env=slurm, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submit(shell: Shell, slurm: dict[str, str], *args: str) -> int:
    train = [sys.executable, "-m", "carbon_trainer", "submit", *shell.tiny, *STEPS, *args]
    submitted, job, number, *_ = call(shell, slurm, *train).split()
    assert (submitted, job) == ("submitted", "job")
    return int(number)


def wait(shell: Shell, slurm: dict[str, str], job: int, seconds: float = 280) -> str:
    """Wait until a job has left the queue; return what it wrote."""
    log = shell.folder / "carbon_runs" / f"slurm-{job}.log"
    deadline = time.monotonic() + seconds
    while call(shell, slurm, "squeue", "-h", "-o", "%i").strip():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(1)
    return log.read_text()


def closes(shell: Shell, run_id: str) -> list[str]:
    return [fact.body["status"] for fact in ledger(shell).facts(run_id, RunClosed)]


def dirty_for_a_while(shell: Shell, seconds: int) -> tuple[Path, datetime]:
    """Write a trace by which the grid is dirty for so long at least; return when it is clean."""
    now = datetime.now(UTC)
    begin = now.replace(second=0, microsecond=0)
    clean = begin + timedelta(minutes=math.ceil((now.second + seconds) / 60))
    rows = ["time_utc,gco2e_per_kwh"]
    for minute in range(240):
        time_utc = begin + timedelta(minutes=minute)
        rows.append(f"{time_utc.isoformat()},{800 if time_utc < clean else 20}")
    path = shell.folder / "trace.csv"
    path.write_text("\n".join(rows) + "\n")
    return path, clean


@pytest.mark.timeout(600)
def test_a_job_releases_itself_and_comes_back_at_its_window(
    shell: Shell, slurm: dict[str, str]
) -> None:
    plain = submit(shell, slurm, *LONG)
    out = wait(shell, slurm, plain)
    assert closes(shell, f"slurm-{plain}") == ["finished"], out
    trace, window = dirty_for_a_while(shell, 100)
    job = submit(shell, slurm, *LONG, "--trace", str(trace), "--deadline", "2h")
    out = wait(shell, slurm, job)
    run_id = f"slurm-{job}"
    assert closes(shell, run_id)[0] == "released", out
    assert closes(shell, run_id)[-1] == "finished", out
    assert len(ledger(shell).facts(run_id, RunOpened)) == 1
    resumed = ledger(shell).facts(run_id, Resumed)
    come_back = datetime.fromtimestamp(resumed[0].time_ns / 1e9, UTC)
    assert window - timedelta(seconds=5) <= come_back <= window + timedelta(seconds=60)
    assert_same_weights(shell, f"slurm-{plain}", run_id)
    assert_verified(shell, run_id)


@pytest.mark.timeout(600)
def test_a_job_that_is_to_be_preempted_saves_and_goes_on(
    shell: Shell, slurm: dict[str, str]
) -> None:
    job = submit(shell, slurm, "--max-steps", "1500")
    run_id = f"slurm-{job}"
    folder = shell.folder / "carbon_runs" / run_id / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(folder.glob("step-*.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    call(shell, slurm, "scancel", "--batch", "--signal=USR1", str(job))
    out = wait(shell, slurm, job)
    assert closes(shell, run_id) == ["interrupted", "finished"], out
    lost = [fact.body["lost_mj"] for fact in ledger(shell).facts(run_id, Resumed)]
    assert lost == [0]


def test_the_script_can_be_looked_at_first(shell: Shell) -> None:
    shown = subprocess.run(
        [
            sys.executable, "-m", "carbon_trainer", "submit", *shell.tiny, "--devices", "2",
            "--sbatch=--partition=gpu", "--dry-run",
        ],
        cwd=shell.folder, env=environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "#SBATCH --partition=gpu" in shown
    assert "#SBATCH --ntasks-per-node=2" in shown
    assert "exec srun" in shown
    assert "--dry-run" not in shown
    assert shutil.which("bash")
    subprocess.run(["bash", "-n"], input=shown, text=True, check=True)
