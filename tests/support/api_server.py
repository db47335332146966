"""An embedded API server in its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from devcluster.apiserver.auth.identity import MASTERS, Identity
from devcluster.apiserver.http.server import ApiServer
from tests.support.rest import Access, Rest

ADMIN_TOKEN = "admin-token"
NOBODY_TOKEN = "nobody-token"
START_DEADLINE_S = 30.0


class ServerApi(Rest):
    """The administrator's requests to an embedded API server, and the server itself."""

    def __init__(self, server: ApiServer, access: Access) -> None:
        super().__init__(access)
        self.server = server

    def as_nobody(self) -> Rest:
        """Requests of a user without permissions."""
        return Rest(replace(self.access, token=NOBODY_TOKEN))


@contextmanager
def running(state_dir: Path, **options: Any) -> Iterator[ServerApi]:
    """Start a server, and stop it at the end. `options` go to ApiServer."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded-api-server", daemon=True)
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
        api = ServerApi(server, Access(f"http://127.0.0.1:{port}", token=ADMIN_TOKEN))
        try:
            yield api
        finally:
            api.close()
            wait(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_DEADLINE_S)
        loop.close()
