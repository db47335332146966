"""The panel's processes in their own state directory, for tests that kill them."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


def hermetic_environment(state_dir: Path, **more: str) -> dict[str, str]:
    """Return an environment without variables of the tester, except for those that programs need to start."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "STATE_DIR": str(state_dir), "DJANGO_SETTINGS_MODULE": "controlpanel.settings", **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Panel:
    """Runs `manage.py` commands with one STATE_DIR and one cluster; ends all processes that it started."""

    def __init__(self, state_dir: Path, kubeconfig: Path | None = None, **environment: str) -> None:
        self.state_dir = state_dir
        where = {} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig), "ENDPOINT_HOSTS": "127.0.0.1,127.0.0.2"}
        self.environment = hermetic_environment(state_dir, **where, **environment)
        self._children: list[subprocess.Popen[bytes]] = []
        state_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Panel":
        self.run("migrate", "--verbosity", "0")
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            self.kill(child)

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one command and wait for its end."""
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment,
            cwd=self.state_dir,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=check,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that keeps running, in its own process group. Its output goes to a log in the state
        directory.
        """
        log = self.state_dir / f"{arguments[0]}-{len(self._children)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *arguments],
                env=self.environment,
                cwd=self.state_dir,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        """Kill a process and all that it started with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)

    def status(self, *names: str) -> list[dict[str, Any]]:
        """Return the output of `status --json`, one object for each project."""
        output = self.run("status", *names, "--json").stdout
        return [json.loads(line) for line in output.splitlines()]

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> float:
        """Wait until `is_so` holds; return the seconds that it took. Fails with the panel's status."""

        def explain() -> str:
            lines = "\n".join(f"{row['project']}: {row['phase']} {row['message']}" for row in self.status())
            return f"{what}.\n{lines}"

        start = time.monotonic()
        wait_for(is_so, timeout_s=timeout_s, explain=explain)
        return time.monotonic() - start

    def count(self, sql: str) -> int:
        """Query the panel's database directly, without starting Python."""
        with sqlite3.connect(self.state_dir / "panel.sqlite3", timeout=20) as database:
            row = database.execute(sql).fetchone()
        database.close()
        return int(row[0])

    def running(self) -> int:
        return self.count("SELECT count(*) FROM projects_project WHERE phase = 'Running'")

    def everything_written(self) -> bytes:
        """Return the bytes of all files in the state directory: database, queue, logs."""
        files = [path for path in self.state_dir.rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in files)
