"""One panel under its supervisor and one embedded cluster, for the runs with processes.

Linux only: /proc shows what a process waits for.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
_READ = "0"  # the number of the system call, as /proc shows it


@dataclass
class Stage:
    """`manage.py up` on a state directory, an embedded cluster, and this process's own access to both."""

    directory: Path
    cluster: Any
    rng: random.Random
    port: int = 0
    # Name of a bug of bugs.py that is planted in the supervisor.
    planted: str = ""
    # The panel's own database, unless it is a file.
    postgres: Any = None
    violations: list[str] = field(default_factory=list)
    passwords: set[str] = field(default_factory=set)
    were_ready: set[str] = field(default_factory=set)
    slowest_mend_s: float = 0.0
    said_in_the_end: str = ""
    # A file that keeps the evidence of violations.
    report: Path | None = None
    # Steps of the projects that strikes were meant for, and of all unsettled projects.
    struck: Counter[str] = field(default_factory=Counter)
    struck_beside: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        program = ("-m", "tests.faults.planted", self.planted) if self.planted else ("manage.py",)
        with (self.directory / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "up", "--no-sample", "--port", str(self.port)],
                cwd=ROOT,
                env=dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def is_found_out(self) -> bool:
        """Whether the planted bug was noticed."""
        return bool(self.planted and self.violations)

    @property
    def said(self) -> str:
        return (self.directory / "up.log").read_text(errors="replace")

    def part(self, name: str) -> psutil.Process | None:
        """Return the main process of a component of the panel; None while there is none."""
        try:
            record = json.loads((self.directory / "state" / "run" / f"{name}.json").read_text())
            return psutil.Process(record["pid"])
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def queue_children(self) -> list[psutil.Process]:
        """Return the children of the queue's sentinel in the order of their start: workers, monitor, pusher."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if sentinel := self.sentinel():
                return sorted(sentinel.children(), key=lambda child: (child.create_time(), child.pid))
        return []

    def sentinel(self) -> psutil.Process | None:
        """Return the process that restarts the queue's workers; None while there is none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if head := self.part("queue"):
                return next(iter(head.children()), None)
        return None

    def next_in_line(self) -> psutil.Process | None:
        """Return the idle worker that reads from the pipe of the task queue, and so holds its lock; None if all are
        busy.

        Of the processes that are blocked in read(2), the monitor reads from the pipe that was created later.
        """
        readers = [(pipe, child) for child in self.queue_children() if (pipe := pipe_read(child.pid))]
        pipes = {pipe for pipe, _ in readers}
        return min(readers, key=lambda reader: reader[0])[1] if len(pipes) > 1 else None


def pipe_read(pid: int) -> int:
    """Return the inode of the pipe that a process is blocked in reading from; 0 if it is not."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[0] != _READ:
            return 0
        target = str(Path(f"/proc/{pid}/fd/{int(call[1], 16)}").readlink())
    except (OSError, IndexError, ValueError):
        return 0
    return int(target[len("pipe:[") : -1]) if target.startswith("pipe:[") else 0


def await_true(is_so: Callable[[], bool], timeout_s: float) -> bool:
    until_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def staged(seed: int, *, is_on_postgres: bool, planted: str = "") -> Iterator[Stage]:
    from devcluster.cluster import EmbeddedCluster, Options
    from tests.faults.postgres import shared
    from tests.support.processes import free_port

    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        directory = Path(name)
        options = Options(
            state_dir=directory / "cluster",
            running_after_s=0.6,
            secret_after_s=0.3,
            ready_after_s=0.3,
            sandboxes="simulated",
            is_ephemeral=True,
        )
        with EmbeddedCluster(options) as cluster:
            port = free_port()
            os.environ.update(
                STATE_DIR=str(directory / "state"),
                KUBECONFIG=str(cluster.kubeconfig),
                ENDPOINT_HOSTS="127.0.0.1,127.0.0.2",
                ADMIN_PASSWORD="faults-canary-password",
                DJANGO_SETTINGS_MODULE="controlpanel.settings",
            )
            stage = Stage(directory, cluster, random.Random(seed), port, planted)
            if is_on_postgres:
                stage.postgres = shared()
                os.environ["DATABASE_URL"] = stage.postgres.url
            stage.start()
            try:
                if not await_true(lambda: "The panel is ready" in stage.said, 90):
                    raise RuntimeError(f"The panel has not started:\n{stage.said}")
                import django

                django.setup()
                yield stage
            finally:
                stage.stop()
