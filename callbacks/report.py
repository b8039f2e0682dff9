"""SustainabilityReport: a run leaves a report that people and programs can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.control.report import FORMATS, leave_report

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession


class SustainabilityReport(CarbonCallback):
    """Writes ``report.html``, ``report.md`` and ``report.json`` into the run's folder at its end.

    Args:
        session: a run that the caller opened; None to open one for each fit.
        formats: which of them to write.
    """

    def __init__(
        self,
        *,
        session: RunSession | None = None,
        formats: Sequence[str] = FORMATS,
    ) -> None:
        super().__init__(session=session)
        self._formats = tuple(formats)

    def on_run_closed(self, session: RunSession) -> None:
        """Write the report; a folder that cannot be written costs only the report."""
        leave_report(session, self._formats)
