"""Where a run interferes with the panel: its clock, its requests to the API server, its SQL statements and its
connections to databases of projects.

All of these are patches of libraries (Django, urllib3, psycopg); the panel's own code is unchanged.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import psycopg
import urllib3
from django.db import OperationalError, connection

Hook = Callable[[], object]
Send = Callable[[], object]


_NO_POOL = urllib3.HTTPConnectionPool("127.0.0.1", 9)


class WorkerKilledError(BaseException):
    """Kills the worker at this point: no handler of the panel catches it, and nothing more reaches the database."""


class Clock:
    """The panel's clock. It advances when a run says so, and by one millisecond at each reading."""

    def __init__(self) -> None:
        self._now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the clock. A negative number sets it back."""
        self._now += timedelta(seconds=seconds)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with mock.patch("django.utils.timezone.now", self):
            yield


class Gate:
    """Calls a hook once, at a request, statement or connection of the panel that is chosen by the number of others
    before it. Hooks do not nest.
    """

    def __init__(self) -> None:
        self._requests: list[tuple[int, bool, Hook]] = []
        self._connections: list[tuple[int, bool, Hook]] = []
        self._statements: list[tuple[int, Hook]] = []
        self._postponed: int | None = None
        self._is_dead = False
        self._is_armed = False
        self.late: list[Send] = []
        # The error of every statement, unless "".
        self.outage = ""

    def postpone(self, skipped: int) -> None:
        """Let the request after `skipped` others time out, and append it to `late` to be sent when the run decides: a
        slow API server executes a request long after its client has given up.
        """
        self._postponed = skipped

    def at_request(self, skipped: int, hook: Hook, *, after: bool) -> None:
        """Call `hook` before or after the effect of the request that follows `skipped` others."""
        self._requests.append((skipped, after, hook))

    def at_connection(self, skipped: int, hook: Hook, *, after: bool) -> None:
        """Call `hook` before or after the connection to a project's database that follows `skipped` others."""
        self._connections.append((skipped, after, hook))

    def at_statement(self, skipped: int, hook: Hook) -> None:
        """Call `hook` before the database statement that follows `skipped` others."""
        self._statements.append((skipped, hook))

    def kill(self) -> None:
        """A hook that kills the worker."""
        self._is_dead = True
        raise WorkerKilledError

    def clear(self) -> None:
        self._requests, self._statements, self._connections, self._postponed = [], [], [], None
        self.outage = ""

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Enable the hooks within the block, for the work of one worker."""
        before, self._is_armed = self._is_armed, True
        try:
            yield
        finally:
            self._is_armed, self._is_dead = before, False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        original = urllib3.PoolManager.request

        def request(pool: urllib3.PoolManager, method: str, url: str, *args: Any, **options: Any) -> Any:
            if (options.get("headers") or {}).get("User-Agent") != "controlpanel":
                return original(pool, method, url, *args, **options)
            self._requests, now, later = self._due(self._requests)
            self._call(now)
            if self._is_armed and self._postponed is not None and method not in ("GET", "HEAD"):
                self._postponed -= 1
                if self._postponed < 0:
                    self._postponed = None
                    self.late.append(lambda: original(pool, method, url, *args, **options))
                    raise urllib3.exceptions.ReadTimeoutError(_NO_POOL, url, "Read timed out.")
            answer = original(pool, method, url, *args, **options)
            self._call(later)
            return answer

        connect_to = psycopg.connect

        def connect(*args: Any, **options: Any) -> Any:
            if options.get("application_name") != "controlpanel":
                return connect_to(*args, **options)
            self._connections, now, later = self._due(self._connections)
            self._call(now)
            session = connect_to(*args, **options)
            try:
                self._call(later)
            except BaseException:
                session.close()  # as at the end of a process
                raise
            return session

        with (
            mock.patch.object(urllib3.PoolManager, "request", request),
            mock.patch.object(psycopg, "connect", connect),
            connection.execute_wrapper(self._execute),
        ):
            yield

    def _due(
        self, waiting: list[tuple[int, bool, Hook]]
    ) -> tuple[list[tuple[int, bool, Hook]], list[Hook], list[Hook]]:
        """Return the hooks that remain, and those to be called before and after this event."""
        if not self._is_armed:
            return waiting, [], []
        due = [(after, hook) for skipped, after, hook in waiting if not skipped]
        left = [(skipped - 1, after, hook) for skipped, after, hook in waiting if skipped]
        return left, [hook for after, hook in due if not after], [hook for after, hook in due if after]

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._is_dead:
            raise WorkerKilledError
        if self._is_armed and self._statements:
            due = [hook for skipped, hook in self._statements if not skipped]
            self._statements = [(skipped - 1, hook) for skipped, hook in self._statements if skipped]
            self._call(due)
        if self.outage:
            raise OperationalError(self.outage)
        return execute(sql, params, many, context)

    def _call(self, hooks: list[Hook]) -> None:
        was_armed, self._is_armed = self._is_armed, False
        try:
            for hook in hooks:
                hook()
        finally:
            self._is_armed = was_armed
