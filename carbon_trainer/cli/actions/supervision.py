"""A supervisor's queries to the ledger, in a process of their own, so that it stays small.

``python -m carbon_trainer.cli.actions.supervision QUERY RUN RUNS_DIR`` prints one line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from carbon_trainer.cli.actions.closing import LEDGER_ERRORS, error_text, report_of_failure
from carbon_trainer.errors import CarbonTrainerError
from carbon_trainer.ledger.facts import Decision
from carbon_trainer.ledger.location import location_of
from carbon_trainer.ledger.store import Ledger


def return_time_ns(run_id: str, runs_dir: Path) -> int:
    """Return when a released run is to be restarted; 0 if it has not recorded a time.

    Raises:
        LedgerError: if the ledger cannot be read.
    """
    ledger = Ledger.open(location_of(None, runs_dir), create=False)
    try:
        decisions = ledger.facts(run_id, Decision)
    finally:
        ledger.close()
    times = [fact.body["figures"].get("until_ns") for fact in decisions
             if fact.body["decision"] == "stop"]  # fmt: skip
    return int(times[-1] or 0) if times else 0


QUERIES = {"return-time": return_time_ns, "report": report_of_failure}


if __name__ == "__main__":
    query, run, folder = sys.argv[1:]
    try:
        sys.stdout.write(f"{QUERIES[query](run, Path(folder))}\n")
    except LEDGER_ERRORS as error:
        sys.stderr.write(f"{error_text(error)}\n")
        sys.exit(error.exit_status if isinstance(error, CarbonTrainerError) else 1)
