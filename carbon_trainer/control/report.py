"""The report that a run leaves when it is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

FORMATS = ("html", "md", "json")


def leave_report(session: RunSession, formats: Sequence[str] = FORMATS) -> None:
    """Write a closed run's report; a folder that cannot be written costs only the report.

    Args:
        session: the run.
        formats: which to write, of ``html``, ``md`` and ``json``.
    """
    from carbon_trainer.reports.build import write_run_report

    try:
        paths = write_run_report(session.ledger, session.run_id, session.run_dir, tuple(formats))
    except Exception as error:  # noqa: BLE001 - the run is over and recorded; say, don't raise
        log.warning(
            "the report could not be written (%s); `carbon-train report %s` writes it again.",
            error,
            session.run_id,
        )
    else:
        log.info("report: %s", next(iter(paths.values()), "none"))
