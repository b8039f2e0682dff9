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
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Answer = Callable[[Request], Reply]


class GridServer:
    """Replies from a list, its last for ever, or by a function; records the requests."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[Request] = []
        self._replies = list(replies)
        self._answer: Answer | None = None
        self.url = ""

    def set_replies(self, *replies: Reply) -> None:
        """Reply with these from now on."""
        self._replies = list(replies)

    def answer_with(self, answer: Answer) -> None:
        """Reply by a function from now on."""
        self._answer = answer

    def reply_to(self, request: Request) -> Reply:
        self.requests.append(request)
        if self._answer is not None:
            return self._answer(request)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


@contextmanager
def serving(*replies: Reply) -> Iterator[GridServer]:
    """Run a server on a free port."""
    grid = GridServer(*replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            reply = grid.reply_to(Request(url.path, query, dict(self.headers)))
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
                return  # the client has disconnected, as it should after its timeout

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
