"""Strikes against the panel's processes: killed, stopped, cut off from their watches."""

import contextlib
import time
from collections.abc import Callable

import psutil

from tests.faults.stage import Stage, await_true, pipe_read

# A hanging queue is noticed and restarted in half a minute.
MENDED_WITHIN_S = 30.0
# Only if asked for by name: then the panel's database is a PostgreSQL server; otherwise it is a file.
ON_POSTGRES = "panel's PostgreSQL killed and started again"


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


def _busy_worker(stage: Stage) -> None:
    """Return a worker that waits neither for a task nor for the lock."""
    children = stage.queue_children()[:-1]
    holder = stage.next_in_line()
    busy = [child for child in children if not pipe_read(child.pid) and child != holder]
    _kill(stage.rng.choice(busy or children)) if children else None


def _idle_worker(stage: Stage) -> None:
    """The idle worker holds the lock (django-q's issue 23): without it, no other worker ever gets a task."""
    until_s = time.monotonic() + 10
    while (holder := stage.next_in_line()) is None and time.monotonic() < until_s:
        time.sleep(0.01)
    if holder is None:
        return
    _kill(holder)
    killed_at_s = time.monotonic()
    await_true(lambda: _has_beaten(killed_at_s), MENDED_WITHIN_S + 15)
    took_s = time.monotonic() - killed_at_s
    stage.slowest_mend_s = max(stage.slowest_mend_s, took_s)
    if took_s > MENDED_WITHIN_S:
        stage.violations.append(f"A hanging queue was mended after {took_s:.0f} s, not within {MENDED_WITHIN_S:.0f} s.")


def _has_beaten(since_s: float) -> bool:
    """Whether a worker has started something a second or more after that moment of the monotonic clock."""
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
    """Kill the server of the panel's database: every session breaks; the server recovers a moment later."""
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
# Recovery takes long, so these are not part of every round.
RARE = ("idle worker next in line killed",)
