"""A server on loopback that sends the bytes that a test chooses, valid HTTP or not."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.serving import serving

# The answer, whole or in parts; it ends where the panel closes the connection.
Bytes = bytes | Iterable[bytes]
Respond = Callable[[str, str, bytes], Bytes]


@dataclass
class HostileServer:
    """`respond(method, path, body)` returns the raw answer; tests may replace it at any time. Connections stay open
    after an answer only with `keeps_open`.
    """

    url: str
    respond: Respond = lambda method, path, body: b""
    keeps_open: bool = False
    connections: int = 0
    requests: list[str] = field(default_factory=list, repr=False)


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def setup(self) -> None:
            stub.connections += 1
            super().setup()

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.requests.append(f"{self.command} {self.path}")
            raw = stub.respond(self.command, self.path, body)
            try:
                for part in [raw] if isinstance(raw, bytes) else raw:
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                self.close_connection = True
            self.close_connection = self.close_connection or not stub.keeps_open

        do_GET = do_PATCH = do_POST = do_DELETE = _respond  # noqa: N815 - names of the standard library

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """Ignore connections that the panel closes during an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    stub = HostileServer(f"http://127.0.0.1:{server.server_address[1]}")
    with serving(server):
        yield stub


def http(body: bytes, status: int = 200, headers: str = "") -> bytes:
    """Return a valid HTTP answer with that body."""
    return f"HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def http_json(value: Any, status: int = 200) -> bytes:
    return http(json.dumps(value).encode("utf-8", "surrogatepass"), status)
