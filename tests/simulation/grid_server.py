"""A real HTTP server that answers as providers of carbon intensity do, and fails as they do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    """One answer.

    Attributes:
        body: what is sent, as JSON; bytes as they are.
        status: HTTP status.
        headers: more headers.
        delay_s: how long it takes.
        truncated: whether the connection is closed in the middle of the body.
    """

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    truncated: bool = False


@dataclass(frozen=True)
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Answering = Callable[[Asked], Reply]


class GridServer:
    """Answers from a list, the last of it for ever, or by a function; remembers what was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.asked: list[Asked] = []
        self._replies = list(replies)
        self._answering: Answering | None = None
        self.url = ""

    def then(self, *replies: Reply) -> None:
        """Answer otherwise from now on."""
        self._replies = list(replies)

    def by(self, answering: Answering) -> None:
        """Answer by a function from now on."""
        self._answering = answering

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if self._answering is not None:
            return self._answering(asked)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


@contextmanager
def serving(*replies: Reply) -> Iterator[GridServer]:
    """Run a server on a free port."""
    grid = GridServer(*replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            reply = grid.answer(Asked(parts.path, query, dict(self.headers)))
            time.sleep(reply.delay_s)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + 10 * reply.truncated))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return  # the client has gone, as it should after its time-out

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    grid.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield grid
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
