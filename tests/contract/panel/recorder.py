"""A proxy on loopback before an API server. It records the verb and the resource of each request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import urllib3

from devcluster.apiserver.auth.request_info import parse_request
from tests.support.rest import Access
from tests.support.serving import serving

Permission = tuple[str, str, str]
"""(API group, resource or resource/subresource, verb), as the rules of a Role have them."""

_DROPPED = {"connection", "transfer-encoding", "content-length", "host", "content-encoding", "accept-encoding"}


@dataclass(frozen=True)
class Request:
    """One answered request. Authorization uses `verb`, `group` and `resource`."""

    verb: str
    group: str
    resource: str
    namespace: str
    method: str
    status: int

    @property
    def permissions(self) -> set[Permission]:
        """The permissions that the request needs: an apply that creates its object needs two verbs."""
        created = {"create"} if self.method == "PATCH" and self.status == 201 else set()
        return {(self.group, self.resource, verb) for verb in {self.verb, *created}}


@dataclass
class Recorder:
    """Requests on resources, in the order of their answers; discovery and other plain paths are left out."""

    url: str
    requests: list[Request] = field(default_factory=list)

    @property
    def permissions(self) -> set[Permission]:
        return {permission for request in self.requests for permission in request.permissions}

    @property
    def refused(self) -> list[Request]:
        return [request for request in self.requests if request.status in (401, 403)]


@contextmanager
def recording(access: Access) -> Iterator[Recorder]:
    """Forward requests on a free port, over plain HTTP, to the API server at `access.url`, with their credentials."""
    pool = urllib3.PoolManager(
        retries=False, maxsize=16, timeout=urllib3.Timeout(connect=5, read=300), ssl_context=access.ssl_context()
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _DROPPED}
            response = pool.request(
                self.command, access.url + self.path, body=body, headers=headers, preload_content=False, redirect=False
            )
            self._note(response.status)
            self.send_response(response.status)
            for name, value in response.headers.items():
                if name.lower() not in _DROPPED:
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for chunk in response.stream(amt=None, decode_content=True):
                    if chunk:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.wfile.write(b"0\r\n\r\n")
            except (OSError, urllib3.exceptions.HTTPError):
                pass  # one side closed the connection during a watch
            finally:
                response.close()
                response.release_conn()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

        def _note(self, status: int) -> None:
            path, _, query = self.path.partition("?")
            info = parse_request(self.command, path, dict(parse_qsl(query)))
            if info.is_resource:
                resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
                recorder.requests.append(Request(info.verb, info.group, resource, info.namespace, self.command, status))

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: headers contain tokens."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recorder = Recorder(f"http://127.0.0.1:{server.server_port}")
    with serving(server):
        yield recorder
    pool.clear()
