"""PrometheusExporter: a run's figures for Prometheus while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.callbacks.base import CarbonCallback
from carbon_trainer.live.server import ADDRESS, PORT, LiveServer, require_prometheus_client

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from carbon_trainer.control.driver import TrainingDriver
    from carbon_trainer.runs.session import RunSession


class PrometheusExporter(CarbonCallback):
    """Serves energy, power, emissions, budgets and steps at ``http://127.0.0.1:PORT/metrics``.

    Only rank 0 serves, from the start of training until the run closes. A port that is taken
    costs a warning and the live figures, never the training.

    Args:
        port: TCP port; 0 takes a free one.
        address: the address to listen on; this machine's own programs only, by default.
        session: a run that the caller opened; None to open one for each fit.

    Raises:
        InputError: if prometheus-client is not installed, or the port is not valid.
    """

    def __init__(
        self, port: int = PORT, address: str = ADDRESS, *, session: RunSession | None = None
    ) -> None:
        super().__init__(session=session, prometheus_port=port)
        require_prometheus_client()
        self._port = port
        self._address = address
        self._server: LiveServer | None = None

    @property
    def url(self) -> str | None:
        """Where the figures are served; None while they are not."""
        return self._server.url if self._server else None

    def on_run_start(self, driver: TrainingDriver, trainer: Trainer) -> None:
        """Begin to serve."""
        self._stop()
        if driver.session is not None:
            self._server = LiveServer.start(driver.session, self._port, self._address)

    def on_exit(self) -> None:
        """Stop with training, whether or not the caller closes the run."""
        self._stop()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()
