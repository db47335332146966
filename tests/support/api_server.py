"""An embedded API server in a thread of its own, for tests that speak plain HTTP to it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from devcluster.apiserver.auth.identity import MASTERS, Identity
from devcluster.apiserver.http.server import ApiServer

ADMIN_TOKEN = "admin-token"
NOBODY_TOKEN = "nobody-token"
START_DEADLINE_S = 10.0
MERGE = "application/merge-patch+json"

Json = dict[str, Any]


@dataclass
class Api:
    """One client of one server."""

    server: ApiServer
    url: str
    token: str = ADMIN_TOKEN
    session: requests.Session = field(default_factory=requests.Session)

    def call(self, verb: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any) -> Any:
        """The raw answer. Proxies and certificates of the environment do not apply."""
        self.session.trust_env = False
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        return self.session.request(verb, self.url + path, data=data, headers=headers, params=query, timeout=10)

    def ok(self, verb: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any) -> Json:
        """The body of an answer that must be a success."""
        answer = self.call(verb, path, body, content_type, **query)
        assert answer.status_code in {200, 201}, answer.text[:500]
        parsed: Json = answer.json()
        return parsed

    def events(self, path: str, **query: Any) -> list[Json]:
        """Everything a short watch tells."""
        answer = self.call("GET", path, watch="1", **{"timeoutSeconds": 1, **query})
        return [json.loads(line) for line in answer.text.splitlines()]


@contextmanager
def running(state_dir: Path, **options: Any) -> Iterator[Api]:
    """Start, and stop whatever happens."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api-server-of-a-test", daemon=True)
    thread.start()

    def wait(awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, loop).result(START_DEADLINE_S)

    server = ApiServer(
        state_dir=state_dir,
        tokens={ADMIN_TOKEN: Identity("admin", (MASTERS,)), NOBODY_TOKEN: Identity("nobody")},
        **options,
    )
    try:
        port = wait(server.start())
        api = Api(server, f"http://127.0.0.1:{port}")
        try:
            yield api
        finally:
            api.session.close()
            wait(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_DEADLINE_S)
        loop.close()
