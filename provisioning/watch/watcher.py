"""The watcher: streams enqueue passes for the projects whose objects changed, and a sweep for the rest.

One watcher holds the lease; others stand by. It writes tasks, its lease and status messages.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.utils import timezone

from projects.domain.states import DesiredState
from projects.models import Project
from projects.services.broker import enqueue_task
from projects.services.inventory import request_inventory
from provisioning import heartbeats
from provisioning.kube.client import Kube, connect
from provisioning.queue.sweep import postpone_settled_checks, sweep_once
from provisioning.reconcile.record import LONGEST_SETTLED_FACTOR
from provisioning.tasks import beat, path_of
from provisioning.watch.server_probe import ServerProbe
from provisioning.watch.streams import (
    CLUSTERS,
    RELIST_EVERY_S,
    SECRETS,
    STATUS_RELAY,
    WATCHED_KINDS,
    Stream,
    StreamStats,
)

logger = logging.getLogger(__name__)

_RENEW_EVERY_S = 3.0
_SWEEP_EVERY_S = 3.0
_RELAY_EVERY_S = 1.0


class Watcher:
    """Watches while it holds the lease, else stands by. `run` returns when `stop` is set."""

    def __init__(self, stop: threading.Event, connect: Callable[[], Kube] = connect) -> None:
        self._stop, self._connect = stop, connect
        self._token = uuid.uuid4()
        self._streams: dict[tuple[str, str], tuple[Stream, threading.Thread]] = {}
        self._probe: ServerProbe | None = None
        self._probe_stop = threading.Event()
        self._was_in_step = False
        self._since: datetime | None = None
        self._postpone_from = 0.0

    def run(self) -> None:
        logger.info("The watcher stands by.")
        next_renewal = next_sweep = next_relay = next_beat = 0.0
        next_inventory = time.monotonic() + RELIST_EVERY_S
        try:
            while not self._stop.is_set():
                tick = time.monotonic()
                try:
                    self._interrupt_silent()
                    if tick >= next_renewal or self._was_in_step != self._is_in_step():
                        self._lead_or_stand_by()
                        next_renewal = tick + (_RENEW_EVERY_S if self._is_in_step() else 0.5)
                    if self._streams and tick >= next_relay:
                        STATUS_RELAY.write()
                        next_relay = tick + _RELAY_EVERY_S
                    if self._streams and tick >= next_sweep:
                        # The same time for both: what becomes due in between waits for the next round.
                        now = timezone.now()
                        if self._is_in_step() and tick >= self._postpone_from:
                            postpone_settled_checks(now)
                        sweep_once(now)
                        next_sweep = tick + _SWEEP_EVERY_S
                    if self._streams and tick >= next_inventory:
                        # Finds what is not watched: drift of Services, Ingresses and Secrets; orphans.
                        request_inventory(timezone.now())
                        next_inventory = tick + RELIST_EVERY_S
                    if self._streams and tick >= next_beat:
                        enqueue_task(path_of(beat))
                        next_beat = tick + heartbeats.BEAT_EVERY.total_seconds()
                except Exception:  # the watcher survives an outage of the database
                    logger.exception("A round of the watcher failed.")
                    connection.close()
                    self._stop.wait(1.0)
                self._stop.wait(0.2)
        finally:
            self._end_streams()
            heartbeats.release(heartbeats.WATCHER, self._token)
            connection.close()
            logger.info("The watcher has stopped.")

    def _lead_or_stand_by(self) -> None:
        now, is_in_step = timezone.now(), self._is_in_step()
        self._was_in_step = is_in_step
        self._since = (self._since or now) if is_in_step else None
        details: dict[str, object] = {
            "in_step": is_in_step,
            "since": self._since.isoformat() if self._since else "",
            "error": self._error(),
            "streams": read_stream_stats(stream for stream, _ in self._streams.values()),
        }
        if heartbeats.acquire(heartbeats.WATCHER, self._token, heartbeats.WATCHER_LEASE, now, details):
            self._begin_streams()
        elif self._streams:
            logger.warning("Another watcher leads; this one stands by.")
            self._end_streams()

    def _begin_streams(self) -> None:
        """Watch every namespace with objects of a project, and no other."""
        if not self._streams:
            # Each settled project is checked once for what changed while nobody watched, settings included.
            self._postpone_from = time.monotonic() + LONGEST_SETTLED_FACTOR * settings.SETTLED_POLL_S
            self._probe_stop = threading.Event()
            self._probe = ServerProbe(self._probe_stop, self._connect)
            threading.Thread(target=self._probe.run, name="probe-server", daemon=True).start()
            logger.info("The watcher leads.")
        present = Project.objects.present().exclude(desired_state=DesiredState.REGISTERED).order_by()
        namespaces = set(present.values_list("namespace", flat=True).distinct()) | {settings.KUBE_NAMESPACE}
        for key in [key for key in self._streams if key[1] not in namespaces]:
            self._streams.pop(key)[0].stop.set()
        for namespace in namespaces:
            for watched in WATCHED_KINDS:
                key = (watched.name, namespace)
                if key in self._streams:
                    continue
                clusters = self._streams.get((CLUSTERS, namespace)) if watched.name == SECRETS else None
                stream = Stream(watched, namespace, threading.Event(), clusters[0] if clusters else None, self._connect)
                thread = threading.Thread(target=stream.run, name=f"watch-{watched.name}-{namespace}", daemon=True)
                self._streams[key] = (stream, thread)
                thread.start()

    def _interrupt_silent(self) -> None:
        """Interrupt all streams if the API server doesn't answer at all: none of them may notice for minutes."""
        if self._probe is not None and (silence := self._probe.silence()):
            for stream, _ in self._streams.values():
                stream.interrupt(silence)

    def _end_streams(self) -> None:
        # Daemon threads: one that waits for its next event ends with its connection or with the process.
        for stream, _ in self._streams.values():
            stream.stop.set()
        self._streams.clear()
        self._probe_stop.set()
        self._probe = None

    def _is_in_step(self) -> bool:
        return bool(self._streams) and all(stream.is_in_step for stream, _ in self._streams.values())

    def _error(self) -> str:
        silence = self._probe.silence() if self._probe is not None else ""
        return silence or next((stream.error for stream, _ in self._streams.values() if stream.error), "")


def read_stream_stats(streams: Iterable[Stream]) -> dict[str, dict[str, object]]:
    """Return the figures of each kind for the metrics.

    `events`: since the start; `event_at`: the last event (ISO 8601, "" for never); `heard_at`: the last event or
    bookmark of the most silent stream; `lag_s`: the slowest event since the last call.
    """
    kinds: dict[str, list[StreamStats]] = {}
    for stream in streams:
        kinds.setdefault(stream.watched.name, []).append(stream.stats)
    return {
        kind: {
            "events": sum(one.events for one in stats),
            "event_at": max(_format(one.event_at) for one in stats),
            "heard_at": min(_format(one.heard_at) for one in stats),
            "lag_s": max(one.reset_slowest() for one in stats),
        }
        for kind, stats in kinds.items()
    }


def _format(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
