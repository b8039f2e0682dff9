"""The program that ``fit --supervise`` becomes: it stays beside a run and is small while it waits.

``fit`` first checks all that can be wrong, for which it imports pandas, SQLAlchemy and more; then
this program takes its place in the same process. What the ledger knows is read by processes that
end when they have answered.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from carbon_trainer.clock import SystemClock
from carbon_trainer.errors import CarbonTrainerError, LedgerError
from carbon_trainer.launch.supervisor import Supervisor, command_of
from carbon_trainer.ledger.location import LEDGER_VARIABLE
from carbon_trainer.runs.signals import HANDLED

PROGRAM = "carbon_trainer.cli.supervision"
QUERIES = "carbon_trainer.cli.actions.supervision"


def become_supervisor(
    argv: Sequence[str], *, run_id: str, runs_dir: Path, ledger: str, max_restarts: int
) -> NoReturn:
    """Go on as the supervisor of a run, with the same process id.

    Args:
        argv: what the user typed.
        run_id: the run.
        runs_dir: where runs have their folders.
        ledger: where their records are.
        max_restarts: crashes without a new checkpoint between them after which it gives up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # What arrives from here on waits until the supervisor has set its handlers and unblocks it.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    command = [sys.executable, "-m", PROGRAM, run_id, str(runs_dir), str(max_restarts), *argv]
    # In the environment, because a URL may have a password, and everybody sees a command line.
    os.execve(sys.executable, command, {**os.environ, LEDGER_VARIABLE: ledger})  # noqa: S606


def supervise(run_id: str, runs_dir: str, max_restarts: str, *argv: str) -> int:
    """Stay beside a run until it ends for good; return its exit status."""
    supervisor = Supervisor(
        lambda again: command_of(argv, run_id, again=again),
        run_id=run_id,
        runs_dir=Path(runs_dir),
        return_time_ns=lambda: int(_answer("return-time", run_id, runs_dir)),
        report_failure=lambda: _report(run_id, runs_dir),
        max_restarts=int(max_restarts),
        clock=SystemClock(),
        say=_say,
    )
    try:
        return supervisor.run()
    except CarbonTrainerError as error:
        _say(str(error))
        return error.exit_status


def _answer(question: str, run_id: str, runs_dir: str) -> str:
    """Return what a process of its own reads in the ledger.

    Raises:
        LedgerError: if it could not.
    """
    asked = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", QUERIES, question, run_id, runs_dir],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C is for the supervisor to answer
    )
    lines = (asked.stderr if asked.returncode else asked.stdout).strip().splitlines()
    if asked.returncode:
        raise LedgerError(lines[-1] if lines else f"the ledger of run {run_id} cannot be read.")
    return lines[-1]


def _report(run_id: str, runs_dir: str) -> None:
    """Have the report written of a run that is given up; its own status counts, come what may."""
    try:
        sys.stdout.write(f"{_answer('report', run_id, runs_dir)}\n")
    except LedgerError as error:
        _say(f"no report could be written: {error}")


def _say(sentence: str) -> None:
    sys.stderr.write(f"carbon-train: {sentence}\n")


if __name__ == "__main__":
    sys.exit(supervise(*sys.argv[1:]))
