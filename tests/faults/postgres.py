"""A PostgreSQL server that runs can kill, for the databases of Clusters or for the panel's own."""

import atexit
import functools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from devcluster.node.ports import choose_port
from devcluster.node.postgres_binaries import SUPERUSER, find_binaries, make_template
from devcluster.node.private_files import change_owner
from devcluster.node.processes import RunAs

HOST = "127.0.0.1"
_PORTS = range(31000, 32000)
_READY_WITHIN_S = 30.0
# The panel has one connection per thread and process; the embedded cluster's limit of 20 is for a sandbox.
_MOST_CONNECTIONS = "100"


class Postgres:
    """A server in a temporary directory. Raises PostgresUnavailableError if none can run."""

    def __init__(self) -> None:
        self._run_as = RunAs.unprivileged()
        self._binaries = find_binaries(self._run_as)
        self._folder = Path(tempfile.mkdtemp(prefix="faults-postgres-"))
        self._folder.chmod(0o711)
        self._data = make_template(self._folder, self._binaries, self._run_as)
        if self._run_as.uid is not None:
            change_owner(self._data, os.geteuid(), self._run_as.uid)
        self._password = secrets.token_hex(16)
        self.port = choose_port(_PORTS, set())
        command = [self._binaries.path("postgres"), "--single", "-D", str(self._data), "postgres"]
        set_up = self._run_as.run(command, stdin=f"ALTER ROLE {SUPERUSER} PASSWORD '{self._password}';\n")
        assert set_up.returncode == 0, set_up.stderr
        self.start()

    @property
    def url(self) -> str:
        """Of the superuser."""
        return f"postgresql://{SUPERUSER}:{self._password}@{HOST}:{self.port}/postgres"

    def start(self) -> None:
        """Start the server; return once it accepts connections."""
        with (self._folder / "log").open("ab") as log:
            options = ["-D", str(self._data), "-p", str(self.port), "-c", f"max_connections={_MOST_CONNECTIONS}"]
            self._process = subprocess.Popen(
                [self._binaries.path("postgres"), *options],
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._run_as.uid,
                group=self._run_as.gid,
                extra_groups=None if self._run_as.uid is None else [],
            )
        until_s = time.monotonic() + _READY_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"PostgreSQL has not started: {(self._folder / 'log').read_text()[-400:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.Connection.connect(self.url, connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop_at_once(self) -> None:
        """Shut down immediately: sessions break, and the next start recovers."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(20)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        if self.is_running:
            self.stop_at_once()
        shutil.rmtree(self._folder, ignore_errors=True)

    def set_password(self, role: str, password: str) -> None:
        """Create the role that may log in, or change its password."""
        with psycopg.Connection.connect(self.url, autocommit=True) as session:
            known = session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            verb = "ALTER" if known else "CREATE"
            session.execute(
                sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(sql.Identifier(role), sql.Literal(password))
            )

    def verifier(self, role: str) -> str:
        """Return what the server stores of the role's password: it changes with every change of the password."""
        with psycopg.Connection.connect(self.url) as session:
            row = session.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]).fetchone()
        return str(row[0]) if row else ""

    def take_passwords(self, *, takes: bool) -> None:
        """Let all passwords except the superuser's expire, or accept them again. A wrong password gets the same
        answer.
        """
        with psycopg.Connection.connect(self.url, autocommit=True) as session:
            for (role,) in session.execute(
                "SELECT rolname FROM pg_roles WHERE rolname <> current_user AND NOT starts_with(rolname, 'pg_')"
            ).fetchall():
                until = "infinity" if takes else "2000-01-01"
                session.execute(sql.SQL("ALTER ROLE {} VALID UNTIL {}").format(sql.Identifier(role), until))


@functools.cache
def shared() -> Postgres:
    """Return this process's server; the first call starts it."""
    server = Postgres()
    atexit.register(server.close)
    return server
