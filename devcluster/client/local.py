"""A client of an API server in the same process, which calls it without a socket.

Two of three requests come from the stand-ins, and HTTP is half of their cost. Watches use a connection. All requests do
while faults are set, so that the faults affect the stand-ins like other clients.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from devcluster.apiserver.http.server import ApiServer
from devcluster.client.client import Connection, KubeClient


class LocalRequest:
    """The part of aiohttp's Request that the API server reads."""

    transport = None

    def __init__(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.rel_url, self.headers = method, url, CIMultiDict(headers)
        self.content_length, self.content, self._body = len(body), self, body

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield the body."""
        yield self._body


class LocalClient(KubeClient):
    """A client of a server in the same event loop."""

    def __init__(self, server: ApiServer, connection: Connection, *, user_agent: str) -> None:
        super().__init__(connection, user_agent=user_agent)
        self._server = server

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        faults = self._server.faults
        if faults.rules or faults.latency_s:
            return await super().exchange(method, path, query, headers, body)
        request = cast("web.Request", LocalRequest(method, URL.build(path=path, query=query), headers, body))
        response = await self._server.answer(request)
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            raise TypeError(f"{method} {path} is no request for one answer.")
        return response.status, response.body
