"""SustainabilityReport: a run leaves a report that people and programs can read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback

if TYPE_CHECKING:
    from carbon_trainer.session import RunSession

log = logging.getLogger(__name__)


class SustainabilityReport(CarbonCallback):
    """Writes ``report.html``, ``report.md`` and ``report.json`` into the run's folder at its end.

    Args:
        session: a run that somebody else opened; None to open one for each fit.
        formats: which of them to write.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        formats: Sequence[str] = ("html", "md", "json"),
    ) -> None:
        super().__init__(session=session)
        self._formats = tuple(formats)

    def closed(self, session: RunSession) -> None:
        """Write the report; a folder that cannot be written costs only the report."""
        from carbon_trainer.reports.build import write_run_report

        try:
            paths = write_run_report(session.ledger, session.run_id, session.run_dir, self._formats)
        except Exception as error:  # noqa: BLE001 - the run is over and recorded; say, don't raise
            log.warning(
                "the report could not be written (%s); `carbon-train report %s` writes it again.",
                error,
                session.run_id,
            )
        else:
            log.info("report: %s", next(iter(paths.values()), "none"))
