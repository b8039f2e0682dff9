"""The HTTP endpoint for Prometheus; by default for this machine's own programs only."""

from __future__ import annotations

import errno
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from carbon_trainer.errors import InputError

if TYPE_CHECKING:
    from carbon_trainer.runs.session import RunSession

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
PORT = 9464
"""The port that OpenTelemetry's specification gives to Prometheus exporters."""


class LiveServer:
    """Serves one run's figures from when it is made until it is stopped, in a thread of its own.

    Args:
        port: TCP port; 0 takes a free one.
        address: the address to listen on.

    Raises:
        InputError: if prometheus-client is not installed, or the port is not available.
    """

    def __init__(self, port: int = PORT, address: str = ADDRESS) -> None:
        require_prometheus_client()
        from prometheus_client import CollectorRegistry, start_http_server

        from carbon_trainer.live.collector import RunCollector

        self._collector = RunCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise InputError(
                f"live figures cannot be served on {address}, port {port}: {reason}. Choose "
                "another with --prometheus-port (port= of PrometheusExporter), or 0 for a free one."
            ) from error
        self.url = f"http://{address}:{self._server.server_port}/metrics"

    @classmethod
    def start(
        cls, session: RunSession, port: int = PORT, address: str = ADDRESS
    ) -> LiveServer | None:
        """Serve a run's figures; a port that is taken costs a warning, never the training.

        Args:
            session: the run.
            port: TCP port; 0 takes a free one.
            address: the address to listen on.

        Returns:
            The server; None if there is none.
        """
        try:
            server = cls(port, address)
        except InputError as error:
            log.warning("%s The run goes on without.", error)
            return None
        server.watch(session)
        log.info("live figures: %s", server.url)
        return server

    def watch(self, session: RunSession) -> None:
        """Serve this run's figures."""
        self._collector.watch(session)

    def stop(self) -> None:
        """Close the port; may be called twice."""
        # The thread ends only once the loop of the server has, so in this order.
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def require_prometheus_client() -> None:
    """Check that what serves live figures is installed.

    Raises:
        InputError: if it is not.
    """
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise InputError(
            "live figures need prometheus-client, which is not installed: "
            "pip install 'carbon-trainer[prometheus]'."
        ) from None
