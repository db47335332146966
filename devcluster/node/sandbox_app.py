"""The application in sandboxes of the embedded cluster: a web server that uses its DATABASE_URL.

`/` shows facts about the database, `/healthz` is 200 if `SELECT 1` succeeds and 503 with the reason otherwise, and
`/env` lists the names of environment variables. No page shows the password. sandbox_start.py runs it with the
environment of the Pod.
"""

from __future__ import annotations

import html
import os
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import psycopg

# /healthz keeps its connection, because a new one needs a server process. It reconnects from time to time, so that
# changed credentials are noticed.
HEALTH_CONNECTION_S = 30.0
CONNECT_TIMEOUT_S = 3
CREATE = """CREATE TABLE IF NOT EXISTS sandbox_visits (
    id bigserial PRIMARY KEY, project text NOT NULL, at timestamptz NOT NULL DEFAULT now())"""
INSERT = "INSERT INTO sandbox_visits (project) VALUES (%s) RETURNING id"
READ = "SELECT id, count(*) OVER () FROM sandbox_visits ORDER BY id DESC LIMIT 1"


class Database:
    """The database of a DATABASE_URL. ValueError if the URL is invalid."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or not parts.username:
            raise ValueError("DATABASE_URL is not of the form postgresql://user:password@host:port/database.")
        self._url = url
        self._password = unquote(parts.password or "")
        self.address = f"{parts.hostname}:{parts.port or 5432}"
        self._lock = threading.Lock()
        self._kept: psycopg.Connection[tuple[object, ...]] | None = None
        self._kept_since = 0.0

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)

    def without_password(self, error: Exception) -> str:
        """Return the message of an error in one line, without the password."""
        text = " ".join(str(error).split()) or type(error).__name__
        return text.replace(self._password, "***") if self._password else text

    def check(self) -> None:
        """Run `SELECT 1`. Raises psycopg.Error."""
        with self._lock:
            if self._kept is not None and time.monotonic() - self._kept_since > HEALTH_CONNECTION_S:
                self._kept.close()
                self._kept = None
            try:
                if self._kept is None:
                    self._kept, self._kept_since = self._connect(), time.monotonic()
                self._kept.execute("SELECT 1")
            except psycopg.Error:
                if self._kept is not None:
                    self._kept.close()
                self._kept = None
                raise

    def visit(self, project: str) -> dict[str, str]:
        """Connect, write a row to the application's own table and read it. Return facts about the server.

        Raises psycopg.Error."""
        started = time.monotonic()
        with self._connect() as connection:
            about = connection.execute(
                "SELECT version(), current_user, current_database(), current_setting('server_version')"
            ).fetchone()
            connection.execute(CREATE)
            written = connection.execute(INSERT, (project,)).fetchone()
            read = connection.execute(READ).fetchone()
        if about is None or written is None or read is None or read[0] < written[0]:  # type: ignore[operator]
            raise psycopg.DataError("the row that was just written could not be read back")
        return {
            "PostgreSQL": str(about[3]),
            "Server": str(about[0]),
            "User": str(about[1]),
            "Database": str(about[2]),
            "Address": self.address,
            "Written and read back": f"row {written[0]} of {read[1]} in table sandbox_visits",
            "Took": f"{(time.monotonic() - started) * 1000:.0f} ms",
        }


STYLE = """
:root { color-scheme: light dark; --text: #172033; --soft: #5b6780; --card: #fff; --back: #eef1f7; --line: #dfe4ee;
  --ok: #0a7d4f; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --text: #e8ecf5; --soft: #9aa6bf; --card: #1a2130; --back: #10151f;
  --line: #2b3447; --ok: #4fd19a; --bad: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif }
main { width: min(42rem, 100%); background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 2rem }
h1 { font-size: 1.4rem; margin: 0 }
p { margin: .35rem 0 1.2rem; color: var(--soft) }
strong { font-weight: 600 } .ok { color: var(--ok) } .bad { color: var(--bad) }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; margin: 0 }
dt, dd { padding: .55rem 0; border-top: 1px solid var(--line); margin: 0 }
dt { color: var(--soft); padding-right: 1.5rem }
dd { overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
footer { margin-top: 1.2rem; color: var(--soft); font-size: .85rem }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main><h1>{title}</h1><p>{lead}</p><dl>{rows}</dl>
<footer>A sandbox of the embedded cluster. Its environment comes from the Pod; the password is not shown.</footer>
</main></body></html>
"""


def render(project: str, facts: dict[str, str], error: str) -> str:
    """Return the page with the table of `facts`, or with `error`."""
    if error:
        lead = f'<strong class="bad">The database does not answer:</strong> {html.escape(error)}'
    else:
        lead = '<strong class="ok">Connected.</strong> This sandbox reached its database with its own DATABASE_URL.'
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    return PAGE.format(style=STYLE, title=html.escape(f"Sandbox of {project}"), lead=lead, rows=rows)


class SandboxServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], database: Database, project: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.database = database
        self.project = project


class Handler(BaseHTTPRequestHandler):
    server: SandboxServer
    server_version = "sandbox"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/":
                self._show_page()
            case "/healthz":
                self._show_health()
            case "/env":
                self._answer(HTTPStatus.OK, "".join(f"{name}\n" for name in sorted(os.environ)), "text/plain")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "There is nothing here; try / or /healthz.\n", "text/plain")

    do_HEAD = do_GET  # noqa: N815 - as above

    def _show_page(self) -> None:
        database, project = self.server.database, self.server.project
        try:
            facts, error, status = database.visit(project), "", HTTPStatus.OK
        except psycopg.Error as failure:
            facts, error = {"Address": database.address}, database.without_password(failure)
            status = HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, render(project, {"Project": project, **facts}, error), "text/html")

    def _show_health(self) -> None:
        try:
            self.server.database.check()
        except psycopg.Error as error:
            text = f"The database does not answer: {self.server.database.without_password(error)}\n"
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, text, "text/plain")
        else:
            self._answer(HTTPStatus.OK, "ok\n", "text/plain")

    def _answer(self, status: HTTPStatus, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        if not self.path.startswith("/healthz"):
            sys.stderr.write(f"{self.log_date_time_string()} {format % args}\n")


def main(listen: str) -> int:
    """Serve on `listen` (HOST:PORT, an IPv6 address in brackets). Return 2 if DATABASE_URL is missing or invalid."""
    host, _, port = listen.rpartition(":")
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        sys.stderr.write("DATABASE_URL is not set: a sandbox cannot run without its database's address.\n")
        return 2
    try:
        database = Database(url)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    address = (host.strip("[]"), int(port))
    server = SandboxServer(address, database, os.environ.get("PROJECT_NAME") or "this project")
    sys.stderr.write(f"Listening on {listen}; the database is {database.address}.\n")
    sys.stderr.flush()
    server.serve_forever()
    return 0
