"""The measured processes: the embedded cluster and the panel, each in a temporary directory."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_INHERITED = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")
_TICKS_A_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """A benchmark failed; the text says why."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where the panel stores rows and tasks. Without URLs: SQLite for both."""

    database_url: str = ""
    redis_url: str = ""
    # More settings of the panel, as environment variables.
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        database = "PostgreSQL" if self.database_url else "SQLite"
        others = "".join(f", {name}={value}" for name, value in self.settings)
        return f"{database} + {'Redis' if self.redis_url else 'ORM broker'}{others}"

    @property
    def plain_url(self) -> str:
        """The database URL without options that only Django understands."""
        return self.database_url.partition("?")[0]

    @property
    def environment(self) -> dict[str, str]:
        values = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, **dict(self.settings)}
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and current resident bytes of a process and its children."""

    cpu_s: float
    resident_bytes: int

    @property
    def resident_mb(self) -> float:
        return self.resident_bytes / 1_000_000


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _descendants(int(child))


def usage_of(pid: int) -> Usage:
    """Return the usage of the process and its children. Ended processes count as zero."""
    cpu_s, resident = 0.0, 0
    for one in set(_descendants(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            cpu_s += sum(int(value) for value in fields[11:15]) / _TICKS_A_S
            resident += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE_BYTES
    return Usage(cpu_s, resident)


class Processes:
    """Starts and stops child processes, each in its own session."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a long-running process. Its output goes to `name`.log."""
        with (self.directory / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._children[name] = child
        return child

    def check(self) -> None:
        """Raise BenchError with the end of the log if a process has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                log = (self.directory / f"{name}.log").read_text(errors="replace")
                raise BenchError(f"{name} ended with code {child.returncode}:\n{log[-2000:]}")

    def usage(self) -> dict[str, Usage]:
        return {name: usage_of(child.pid) for name, child in self._children.items()}

    def stop(self, name: str, *, kill: bool = False) -> None:
        child = self._children.pop(name)
        for number in (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(8)
                break
        # Also kill children that outlived their parent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def stop_all(self) -> None:
        for name in reversed(list(self._children)):
            self.stop(name)


class Cluster:
    """An embedded cluster in its own process, with simulated databases and sandboxes."""

    def __init__(
        self,
        *,
        running_after_s: float = 20.0,
        secret_after_s: float = 0.0,
        pods_ready_after_s: float = 0.2,
        sandboxes: str = "simulated",
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bench-cluster-"))
        self._processes = Processes(self.directory)
        self._options = {
            "--state-dir": str(self.directory / "state"),
            "--running-after-s": str(running_after_s),
            "--secret-after-s": str(secret_after_s),
            "--ready-after-s": str(pods_ready_after_s),
            "--postgres": "none",
            "--sandboxes": sandboxes,
        }

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "state" / "kubeconfig"

    def __enter__(self) -> "Cluster":
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"STATE_DIR": str(self.directory / "unused"), "DJANGO_SETTINGS_MODULE": "controlpanel.settings"}
        options = [part for pair in self._options.items() for part in pair]
        command = [sys.executable, str(ROOT / "manage.py"), "devcluster", *options]
        try:
            self._processes.start("devcluster", command, environment)
            wait_until(self.kubeconfig.exists, "the embedded cluster serves", 60, self._processes.check)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop_all()
        shutil.rmtree(self.directory, ignore_errors=True)

    def usage(self) -> Usage:
        return self._processes.usage()["devcluster"]


class Panel:
    """The panel's processes on one cluster, with their own backend."""

    def __init__(
        self,
        cluster: Cluster | None,
        backend: Backend,
        *,
        settings_module: str = "controlpanel.settings",
        **environment: str,
    ) -> None:
        self.backend = backend
        self.directory = Path(tempfile.mkdtemp(prefix="bench-panel-"))
        self.processes = Processes(self.directory)
        self.environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self.environment |= {
            "STATE_DIR": str(self.directory),
            "DJANGO_SETTINGS_MODULE": settings_module,
            "VERIFY_CONNECTIONS": "false",
            "LOG_LEVEL": "WARNING",
            **backend.environment,
            **environment,
        }
        if cluster is not None:
            self.environment |= {"KUBECONFIG": str(cluster.kubeconfig), "ENDPOINT_HOSTS": "127.0.0.1,127.0.0.2"}

    def __enter__(self) -> "Panel":
        try:
            self._empty_backend()
            self.manage("migrate", "--verbosity", "0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop_all()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _empty_backend(self) -> None:
        if self.backend.database_url:
            import psycopg

            with psycopg.connect(self.backend.plain_url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
        if self.backend.redis_url:
            import redis

            redis.Redis.from_url(self.backend.redis_url).flushdb()

    def manage(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run a management command and return its output. Raises BenchError."""
        return self._run([str(ROOT / "manage.py"), *arguments], timeout_s)

    def step(self, name: str, *arguments: object, timeout_s: float = 900) -> Any:
        """Run a function of bench/steps.py with this panel's settings and return its result. Raises BenchError."""
        output = self._run(["-m", "bench.steps", name, *[str(argument) for argument in arguments]], timeout_s)
        return json.loads(output.splitlines()[-1])

    def _run(self, arguments: list[str], timeout_s: float) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{' '.join(arguments[-3:])} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self, name: str) -> None:
        """Start `qcluster` or `watch`."""
        self.processes.start(name, [sys.executable, str(ROOT / "manage.py"), name], self.environment)

    def start_all(self) -> None:
        """Start the queue and the watcher; wait until the watcher follows the cluster and a worker has run a task."""
        self.start("qcluster")
        self.start("watch")
        self.wait_until(
            lambda: self.is_watcher_in_step() and self.number("SELECT count(*) FROM provisioning_processlease") >= 2,
            "the watcher follows the cluster and a worker has run a task",
            60,
        )

    def is_watcher_in_step(self) -> bool:
        rows = self.rows("SELECT details FROM provisioning_processlease WHERE name = 'watcher'")
        details = rows[0][0] if rows else "{}"
        return (json.loads(details) if isinstance(details, str) else details).get("in_step") is True

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        wait_until(condition, what, timeout_s, self.processes.check)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query on the panel's database."""
        if self.backend.database_url:
            import psycopg

            with psycopg.connect(self.backend.plain_url) as connection:
                return connection.execute(sql.encode()).fetchall()
        database = sqlite3.connect(f"file:{self.directory / 'panel.sqlite3'}?mode=ro", uri=True, timeout=20)
        with contextlib.closing(database):
            return database.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        return int(self.rows(sql)[0][0])

    def count(self, phase: str) -> int:
        return self.number(f"SELECT count(*) FROM projects_project WHERE phase = '{phase}'")  # noqa: S608 - a constant


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float, check: Callable[[], None]) -> None:
    """Wait until `condition()` is true; `check()` may raise to end the wait. Raises BenchError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        check()
        if time.monotonic() > end:
            raise BenchError(f"Timed out after {timeout_s:.0f} s, waiting until {what}.")
        time.sleep(0.1)
