"""The program that ``fit --supervise`` becomes: it restarts a run, and is small while it waits.

``fit`` first checks the settings, for which it imports pandas, SQLAlchemy and more; then it
replaces itself with this program. The ledger is read by short-lived child processes.
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
    """Replace this process with the supervisor of a run; the process id stays the same.

    Args:
        argv: the command line of ``fit``.
        run_id: the run.
        runs_dir: the folder that holds the runs' folders.
        ledger: path or URL of the ledger.
        max_restarts: consecutive crashes without a new checkpoint after which it gives up.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that arrives between here and the supervisor's handlers would kill it: execve resets
    # handlers, but keeps the mask and pending signals. The supervisor unblocks them.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    command = [sys.executable, "-m", PROGRAM, run_id, str(runs_dir), str(max_restarts), *argv]
    # In the environment, because a URL may contain a password, and any user can list command lines.
    os.execve(sys.executable, command, {**os.environ, LEDGER_VARIABLE: ledger})  # noqa: S606


def supervise(run_id: str, runs_dir: str, max_restarts: str, *argv: str) -> int:
    """Supervise a run until it needs no restart; return its exit status."""
    supervisor = Supervisor(
        lambda is_restart: command_of(argv, run_id, is_restart=is_restart),
        run_id=run_id,
        runs_dir=Path(runs_dir),
        return_time_ns=lambda: int(_query_ledger("return-time", run_id, runs_dir)),
        report_failure=lambda: _write_report(run_id, runs_dir),
        max_restarts=int(max_restarts),
        clock=SystemClock(),
        say=_print_message,
    )
    try:
        return supervisor.run()
    except CarbonTrainerError as error:
        _print_message(str(error))
        return error.exit_status


def _query_ledger(query: str, run_id: str, runs_dir: str) -> str:
    """Return the answer of a child process that reads the ledger.

    Raises:
        LedgerError: if it fails.
    """
    process = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", QUERIES, query, run_id, runs_dir],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # so that Ctrl-C reaches the supervisor alone
    )
    lines = (process.stderr if process.returncode else process.stdout).strip().splitlines()
    if process.returncode:
        raise LedgerError(lines[-1] if lines else f"the ledger of run {run_id} cannot be read.")
    return lines[-1]


def _write_report(run_id: str, runs_dir: str) -> None:
    """Write the report of a run that is given up; a failure does not change the exit status."""
    try:
        sys.stdout.write(f"{_query_ledger('report', run_id, runs_dir)}\n")
    except LedgerError as error:
        _print_message(f"the report could not be written: {error}")


def _print_message(message: str) -> None:
    sys.stderr.write(f"carbon-train: {message}\n")


if __name__ == "__main__":
    sys.exit(supervise(*sys.argv[1:]))
