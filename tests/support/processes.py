"""The panel's real processes in a state directory of their own, for tests that kill them."""

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
    """Return an environment with nothing of the tester's but what programs need to start."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "STATE_DIR": str(state_dir), "DJANGO_SETTINGS_MODULE": "controlpanel.settings", **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Panel:
    """Runs `manage.py` commands against one STATE_DIR and one cluster; ends all that it started."""

    def __init__(self, state_dir: Path, kubeconfig: Path | None = None, **environment: str) -> None:
        self.state_dir = state_dir
        where = {} if kubeconfig is None else {"KUBECONFIG": str(kubeconfig), "ENDPOINT_HOSTS": "127.0.0.1"}
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
        """Run one command to its end."""
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
        """Start a process that stays, in a process group of its own; its output goes to a log in the state."""
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
        """kill -9 of a process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)

    def status(self, *names: str) -> list[dict[str, Any]]:
        """Return what `status --json` says, one object a project."""
        output = self.run("status", *names, "--json").stdout
        return [json.loads(line) for line in output.splitlines()]

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> float:
        """Wait for something; return the seconds it took. Fails with what the panel's status says."""

        def explain() -> str:
            lines = "\n".join(f"{row['project']}: {row['phase']} {row['message']}" for row in self.status())
            return f"{what}.\n{lines}"

        start = time.monotonic()
        wait_for(is_so, timeout_s=timeout_s, explain=explain)
        return time.monotonic() - start

    def count(self, sql: str) -> int:
        """Ask the panel's database directly, without the price of a new Python."""
        with sqlite3.connect(self.state_dir / "panel.sqlite3", timeout=20) as database:
            row = database.execute(sql).fetchone()
        database.close()
        return int(row[0])

    def running(self) -> int:
        return self.count("SELECT count(*) FROM projects_project WHERE phase = 'Running'")

    def everything_written(self) -> bytes:
        """Return all bytes of the state directory's files: database, queue, logs."""
        files = [path for path in self.state_dir.rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in files)
