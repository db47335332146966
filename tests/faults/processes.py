"""The panel's real processes, killed and stopped: `python -m tests.faults.processes --runs N --seed S`.

One panel under its own supervisor and one embedded cluster, with real databases, live through all runs: each brings a
project to a step of its life, strikes a process there, and waits until all has come to rest. Prints a line a violation,
then one line of JSON with the kinds and numbers. Linux only: what a process waits for stands in /proc.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
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
_SETTLED_WITHIN_S = 90.0
# Runs that live at a time. A killed worker's task is found after 10 s and its lease ends after 45: nothing but waiting.
_AT_A_TIME = 40
# One that waits, and those that were lost with what was killed: django-q gives them out again minutes later.
_MOST_TASKS = 8
# A queue that hangs is noticed and started again in half a minute.
MENDED_WITHIN_S = 30.0
# Only by name: the panel's database is a PostgreSQL server then, as it is a file in all other runs.
ON_POSTGRES = "panel's PostgreSQL killed and started again"
_READ = "0"  # the number of the system call, as /proc shows it


@dataclass
class Stage:
    """`manage.py up` on a state directory, an embedded cluster, and this process's own view of both."""

    directory: Path
    cluster: Any
    rng: random.Random
    port: int = 0
    # The panel's own database, where it is no file.
    postgres: Any = None
    violations: list[str] = field(default_factory=list)
    passwords: set[str] = field(default_factory=set)
    were_ready: set[str] = field(default_factory=set)
    slowest_mend_s: float = 0.0
    said_in_the_end: str = ""
    # At which step the project was that a strike was meant for; and those that were on their way beside it, too.
    struck: Counter[str] = field(default_factory=Counter)
    struck_beside: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        with (self.directory / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", "--no-sample", "--port", str(self.port)],
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
    def said(self) -> str:
        return (self.directory / "up.log").read_text(errors="replace")

    def part(self, name: str) -> psutil.Process | None:
        """Return the process that leads a part of the panel; None while there is none."""
        try:
            record = json.loads((self.directory / "state" / "run" / f"{name}.json").read_text())
            return psutil.Process(record["pid"])
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None

    def queue_children(self) -> list[psutil.Process]:
        """Return the children of the queue's sentinel in the order they were started: workers, monitor, pusher."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if sentinel := self.sentinel():
                return sorted(sentinel.children(), key=lambda child: (child.create_time(), child.pid))
        return []

    def sentinel(self) -> psutil.Process | None:
        """Return the process that starts the queue's workers anew; None while there is none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if head := self.part("queue"):
                return next(iter(head.children()), None)
        return None

    def next_in_line(self) -> psutil.Process | None:
        """Return the idle worker that reads from the task queue's pipe, and so holds its lock; None if all are busy.

        Of the processes that are blocked in read(2), the monitor reads from the pipe that was made later.
        """
        readers = [(pipe, child) for child in self.queue_children() if (pipe := _pipe_read(child.pid))]
        pipes = {pipe for pipe, _ in readers}
        return min(readers, key=lambda reader: reader[0])[1] if len(pipes) > 1 else None


def _pipe_read(pid: int) -> int:
    """Return the inode of the pipe that a process is blocked in reading from; 0 if it is not."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[0] != _READ:
            return 0
        target = str(Path(f"/proc/{pid}/fd/{int(call[1], 16)}").readlink())
    except (OSError, IndexError, ValueError):
        return 0
    return int(target[len("pipe:[") : -1]) if target.startswith("pipe:[") else 0


def _kill(process: psutil.Process | None) -> None:
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _pause(process: psutil.Process | None, seconds: float) -> None:
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            time.sleep(seconds)
            process.resume()


# --- kinds -------------------------------------------------------------------------------------------------------


def _busy_worker(stage: Stage) -> None:
    """A worker that is neither waiting for a task nor for the lock."""
    children = stage.queue_children()[:-1]
    holder = stage.next_in_line()
    busy = [child for child in children if not _pipe_read(child.pid) and child != holder]
    _kill(stage.rng.choice(busy or children)) if children else None


def _idle_worker(stage: Stage) -> None:
    """django-q's issue 23: the lock goes with it, and no other worker ever gets a task."""
    until_s = time.monotonic() + 10
    while (holder := stage.next_in_line()) is None and time.monotonic() < until_s:
        time.sleep(0.01)
    if holder is None:
        return
    _kill(holder)
    killed_at_s = time.monotonic()
    _await(lambda: _has_beaten(killed_at_s), MENDED_WITHIN_S + 15)
    took_s = time.monotonic() - killed_at_s
    stage.slowest_mend_s = max(stage.slowest_mend_s, took_s)
    if took_s > MENDED_WITHIN_S:
        stage.violations.append(f"A hanging queue was mended after {took_s:.0f} s, not within {MENDED_WITHIN_S:.0f} s.")


def _has_beaten(since_s: float) -> bool:
    """Whether a worker has begun something a second or more after that moment, of the monotonic clock."""
    from django.utils import timezone

    from provisioning.models import ProcessLease

    beat = ProcessLease.objects.filter(name="queue").values_list("renewed_at", flat=True).first()
    if beat is None:
        return False
    age_s = (timezone.now() - beat).total_seconds()
    return time.monotonic() - age_s > since_s + 1.0


def _supervisor(stage: Stage) -> None:
    stage.process.kill()
    stage.process.wait()
    stage.start()


def _panel_postgres(stage: Stage) -> None:
    """Every session of the panel breaks, whatever it is at; the server recovers and comes back a moment later."""
    from django.db import connections

    stage.postgres.stop_at_once()
    time.sleep(stage.rng.uniform(0, 3))
    stage.postgres.start()
    connections.close_all()  # this process's own


def _nth(index: int) -> Callable[[Stage], None]:
    def strike(stage: Stage) -> None:
        children = stage.queue_children()
        _kill(children[index] if len(children) > 3 else None)

    return strike


def _watch_fault(kind: str) -> Callable[[Stage], None]:
    def strike(stage: Stage) -> None:
        stage.cluster.faults.add(kind, count=stage.rng.randint(1, 5))
        stage.cluster.server.drop_watches()

    return strike


KINDS: dict[str, Callable[[Stage], None]] = {
    "busy worker killed": _busy_worker,
    "any worker killed": lambda stage: _kill(next(iter(stage.queue_children()), None)),
    "queue's head killed": lambda stage: _kill(stage.part("queue")),
    "queue's sentinel killed": lambda stage: _kill(stage.sentinel()),
    "queue's monitor killed": _nth(-2),
    "queue's pusher killed": _nth(-1),
    "watcher killed": lambda stage: _kill(stage.part("watcher")),
    "web server killed": lambda stage: _kill(stage.part("web")),
    "worker stopped for a while": lambda stage: _pause(
        next(iter(stage.queue_children()), None), stage.rng.uniform(0.5, 4)
    ),
    "watcher stopped for a while": lambda stage: _pause(stage.part("watcher"), stage.rng.uniform(0.5, 4)),
    "watches truncated": _watch_fault("truncated-watch"),
    "watches too old (410)": _watch_fault("watch-gone"),
    "watches dropped": lambda stage: stage.cluster.server.drop_watches(),
    "supervisor killed": _supervisor,
    "idle worker next in line killed": _idle_worker,
    ON_POSTGRES: _panel_postgres,
}
# These take a while to come right: not in every round.
_RARE = ("idle worker next in line killed",)


def _await(is_so: Callable[[], bool], timeout_s: float) -> bool:
    until_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


def _play(stage: Stage, numbers: range, names: list[str], seed: int) -> None:
    """Some runs at a time, a project and a strike each: all of them live through all the strikes, then are checked."""
    from projects.models import Project
    from projects.services import add_project, request_delete
    from tests.faults.evidence import find_wrong_passwords
    from tests.faults.moments import AT_REST, STEPS, Life, is_at_rest, read_step

    before = len(stage.violations)
    # Shifted in each round: every kind comes to every step.
    steps = [STEPS[(number + number // len(KINDS)) % len(STEPS)] for number in numbers]
    lives = [
        Life(add_project(f"p{number}", actor="ann"), step, stage.rng)
        for number, step in zip(numbers, steps, strict=True)
    ]
    for life in lives:
        life.prepare()
    for life, name in zip(lives, names, strict=True):
        life.go_there()
        found = {one.project.pk: read_step(one.project.pk) for one in lives}
        stage.struck[found[life.project.pk]] += 1
        stage.struck_beside.update(step for step in found.values() if step != AT_REST)
        KINDS[name](stage)
    pks = [life.project.pk for life in lives]
    if not _await(lambda: all(map(is_at_rest, Project.objects.filter(pk__in=pks))), _SETTLED_WITHIN_S):
        left = "; ".join(_tell(row) for row in Project.objects.filter(pk__in=pks) if not is_at_rest(row))
        stage.violations.append(f"Not everything has come to rest within {_SETTLED_WITHIN_S:.0f} s: {left}")
    stage.cluster.faults.clear()
    _check(stage, pks)
    stage.violations += find_wrong_passwords(pks)
    for life in lives:
        request_delete(life.project, actor="bob")
    told = f"runs {numbers.start} to {numbers.stop - 1} ({', '.join(names)}), seed {seed}"
    stage.violations[before:] = [f"{told}: {one}" for one in stage.violations[before:]]


def _tell(row: Any) -> str:
    """Say what a project that has not come to rest waits for, and until when."""
    from django.utils import timezone

    now = timezone.now()
    ages = {
        name: round((at - now).total_seconds())
        for name in ("queued_at", "lease_until", "next_pass_at")
        if (at := getattr(row, name)) is not None
    }
    return f"{row.name}: {row.phase}, {row.message} ({row.failures} failures; seconds from now: {ages})"


def _check(stage: Stage, pks: list[int]) -> None:
    """Compare these projects with the cluster; others may be on their way."""
    from tests.faults.api import Api
    from tests.faults.evidence import gather
    from tests.faults.invariants import check_settled
    from tests.faults.operator import password_of

    api = Api(stage.cluster.url, stage.cluster.server.store, "default", stage.cluster.token)
    evidence = gather(lambda plural: api.list_while_busy(plural))
    evidence.projects = [project for project in evidence.projects if project.pk in pks]
    uids = {str(project.uid) for project in evidence.projects}
    for plural, items in evidence.objects.items():
        evidence.objects[plural] = [item for item in items if _owner(item) in uids or not _owner(item)]
    stage.passwords |= {
        password for item in evidence.objects["secrets"] if (password := password_of(item)) and len(password) > 8
    }
    stage.were_ready |= {
        item["metadata"]["name"]
        for item in evidence.objects["statefulsets"]
        if (item.get("status") or {}).get("readyReplicas")
    }
    evidence.passwords, evidence.were_ready, evidence.most_tasks = stage.passwords, stage.were_ready, _MOST_TASKS
    stage.violations += check_settled(evidence)


def _owner(item: Any) -> str:
    label = "controlpanel.fullstackagent.io/project-id"
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _check_end(stage: Stage) -> None:
    """Everything was deleted: nothing may be left, in the cluster or of a password anywhere."""
    from projects.models import Project
    from projects.states import Phase
    from tests.faults.evidence import read_database

    if not _await(lambda: not Project.objects.exclude(phase=Phase.DELETED).exists(), _SETTLED_WITHIN_S):
        left = list(Project.objects.exclude(phase=Phase.DELETED).values_list("name", "phase", "message"))
        stage.violations.append(f"At the end, not everything is deleted: {left}")
    _check(stage, list(Project.objects.values_list("pk", flat=True)))
    logs = [path for path in stage.directory.rglob("*.log*") if path.is_file()]
    texts = read_database() | {path.name: path.read_text(errors="replace") for path in logs}
    for where, text in texts.items():
        if any(password in text for password in stage.passwords):
            stage.violations.append(f"A password stands in {where}.")


@contextlib.contextmanager
def _staged(seed: int, *, is_on_postgres: bool) -> Iterator[Stage]:
    from provisioning.devcluster.cluster import EmbeddedCluster, Options
    from tests.faults.postgres import shared

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
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            os.environ.update(
                STATE_DIR=str(directory / "state"),
                KUBECONFIG=str(cluster.kubeconfig),
                ADMIN_PASSWORD="faults-canary-password",
                DJANGO_SETTINGS_MODULE="controlpanel.settings",
            )
            stage = Stage(directory, cluster, random.Random(seed), port)
            if is_on_postgres:
                stage.postgres = shared()
                os.environ["DATABASE_URL"] = stage.postgres.url
            stage.start()
            try:
                if not _await(lambda: "The panel is ready" in stage.said, 90):
                    raise RuntimeError(f"The panel has not started:\n{stage.said}")
                import django

                django.setup()
                yield stage
            finally:
                stage.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.processes", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="KIND")
    options = parser.parse_args()
    started_at_s = time.monotonic()
    names = options.only or [name for name in KINDS if name not in (*_RARE, ON_POSTGRES)]
    with _staged(options.seed, is_on_postgres=ON_POSTGRES in names) as stage:
        plan = [names[number % len(names)] for number in range(options.runs)]
        if not options.only:
            plan[-1:] = _RARE
        for first in range(0, len(plan), _AT_A_TIME):
            some = plan[first : first + _AT_A_TIME]
            _play(stage, range(first, first + len(some)), some, options.seed)
        _check_end(stage)
        stage.said_in_the_end = stage.said
    from tests.faults.moments import missed_steps  # only now has Django its settings

    stage.violations += missed_steps(stage.struck, len(plan))
    for sentence in stage.violations:
        sys.stdout.write(sentence + "\n")
    hung = stage.said_in_the_end.count("have been silent")
    told = {"hung": hung, "kinds": sorted(set(plan)), "runs": len(plan), "violations": len(stage.violations)}
    told |= {"slowest_mend_s": round(stage.slowest_mend_s, 1), "seconds": round(time.monotonic() - started_at_s)}
    told |= {"struck": dict(stage.struck), "struck_beside": dict(stage.struck_beside)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if stage.violations else 0


if __name__ == "__main__":
    sys.exit(main())
