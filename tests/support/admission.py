"""A server in front of an API server that does what admission webhooks do to applied objects."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3

from tests.hostile.answers import refusal
from tests.support.rest import Access
from tests.support.serving import serving

Mutation = Callable[[dict[str, Any], bool], None]
_DROPPED = {"host", "connection", "transfer-encoding", "content-length", "keep-alive", "accept-encoding"}


@dataclass
class Admission:
    """What the webhooks do. `mutate`: changes an applied object; its second argument says whether it is created.
    `supports_dry_run`: whether the webhooks for `plurals` have no side effects."""

    url: str = ""
    plurals: tuple[str, ...] = ("statefulsets",)
    mutate: Mutation = field(default=lambda body, is_new: None)
    supports_dry_run: bool = True


@contextmanager
def admitting(access: Access, admission: Admission) -> Iterator[Admission]:
    """Serve what the API server at `access.url` answers, over plain HTTP."""
    pool = urllib3.PoolManager(retries=False, ssl_context=access.ssl_context())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
            address = urlsplit(self.path)
            is_applied = self.headers.get("Content-Type") == "application/apply-patch+yaml"
            is_applied = is_applied and address.path.split("/")[-2] in admission.plurals
            if is_applied and body:
                if "dryRun" in parse_qs(address.query) and not admission.supports_dry_run:
                    said = 'admission webhook "mirror.example.com" does not support dry run'
                    return self._send(400, json.dumps(refusal(400, "BadRequest", said)).encode())
                found = pool.request("GET", access.url + address.path, headers=headers)
                item = json.loads(body)
                admission.mutate(item, found.status == 404)
                body = json.dumps(item).encode()
            response = pool.request(self.command, access.url + self.path, body=body, headers=headers, redirect=False)
            return self._send(response.status, response.data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: headers contain tokens."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    admission.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield admission
    pool.clear()
