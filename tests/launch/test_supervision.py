"""The process that stays beside a run: it is small, misses no signal and asks others for facts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from carbon_trainer.cli import supervision
from carbon_trainer.cli.actions.supervision import return_time_ns
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.ledger.location import LEDGER_VARIABLE, location_of
from carbon_trainer.ledger.store import Ledger
from tests.cli.commands import Shell
from tests.launch.runs import finish, ledger, loaded_libraries, saved, start, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = ["--max-steps", "100000", "--validate-every", "100000", "--checkpoint-every", "50"]
URL = "postgresql+psycopg://ada:secret@db/runs"


def test_it_loads_nothing_that_its_run_needs_and_gives_up_with_a_report(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    process = start(shell, *STEPS, "--run-id", "big", "--supervise", "--max-restarts", "0")
    wait_until(lambda: saved(shell, "big", 50), process)
    (run,) = psutil.Process(process.pid).children()
    assert {"numpy", "pandas", "sqlalchemy", "torch"} <= loaded_libraries(run.pid)
    assert loaded_libraries(process.pid) == set()
    run.kill()
    status, out = finish(process)
    assert status == 1, out
    assert "it is given up after 0 restarts" in out
    assert f"report: {Path('carbon_runs', 'big', 'report.html')}" in out
    assert ledger(shell).energy_mj("big") > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_it_takes_its_place_ends_it_before_a_run_begins(
    number: signal.Signals, tmp_path: Path
) -> None:
    code = f"""
import os
from pathlib import Path
from carbon_trainer.cli.supervision import become_supervisor

replace = os.execve
def replace_while_signalled(*args):
    os.kill(os.getpid(), {number:d})
    replace(*args)

os.execve = replace_while_signalled
argv = ["carbon-train", "fit", "nowhere.yaml", "--supervise"]
become_supervisor(argv, run_id="run", runs_dir=Path("runs"), ledger="l", max_restarts=3)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")


def test_the_ledgers_password_is_on_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = []
    monkeypatch.setattr(os, "execve", lambda *args: replaced.append(args))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: None)
    supervision.become_supervisor(
        ["carbon-train", "fit"], run_id="run", runs_dir=tmp_path, ledger=URL, max_restarts=3
    )
    ((_, command, environ),) = replaced
    assert not re.search("secret", " ".join(command))
    assert environ[LEDGER_VARIABLE] == URL


def test_a_run_comes_back_when_it_last_said_that_it_would(tmp_path: Path) -> None:
    book = Ledger.open(location_of(None, tmp_path))
    assert return_time_ns("run", tmp_path) == 0
    for until_ns in (7, 9):
        fact = Decision(decision="stop", why="released", figures={"until_ns": until_ns})
        book.append("run", [(until_ns, fact)], book.head("run"))
    book.append("run", [(9, Decision(decision="wait", why="dirty"))], book.head("run"))
    book.close()
    assert return_time_ns("run", tmp_path) == 9


def test_a_ledger_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", supervision.QUERIES, "return-time", "run", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("there is no ledger at ")
    assert ended.stderr.count("\n") == 1


def test_a_report_that_cannot_be_written_leaves_the_run_its_own_status(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from carbon_trainer.cli import supervision

supervision.command_of = lambda argv, run_id, is_restart: [sys.executable, "-c", "exit(7)"]
sys.exit(supervision.supervise("run", {str(tmp_path)!r}, "0", "carbon-train"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 7, ended.stderr
    assert "the report could not be written: there is no ledger at " in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
