"""The watcher: streams wake the projects whose objects changed, and a sweep the rest.

One watcher leads, by a lease row; others stand by. It writes nothing but tasks, its lease and words for people.
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
from provisioning.queue.sweep import sweep_once, vouch_for_settled
from provisioning.tasks import beat, path_of
from provisioning.watch.streams import CLUSTERS, RELIST_EVERY_S, SECRETS, STATUS_RELAY, SUBJECTS, Pulse, Stream

logger = logging.getLogger(__name__)

_RENEW_EVERY_S = 3.0
_SWEEP_EVERY_S = 3.0
_RELAY_EVERY_S = 1.0
# Passes put the next check off by at most so many times SETTLED_POLL_S.
_CHECKED_WITHIN = 1.2


class Watcher:
    """Leads when it can, stands by when it can't. `run` returns when `stop` is set."""

    def __init__(self, stop: threading.Event, connect: Callable[[], Kube] = connect) -> None:
        self._stop, self._connect = stop, connect
        self._token = uuid.uuid4()
        self._streams: dict[tuple[str, str], tuple[Stream, threading.Thread]] = {}
        self._since: datetime | None = None
        self._vouch_from = 0.0

    def run(self) -> None:
        logger.info("The watcher stands by.")
        next_renewal = next_sweep = next_relay = next_beat = 0.0
        next_inventory = time.monotonic() + RELIST_EVERY_S
        try:
            while not self._stop.is_set():
                tick = time.monotonic()
                try:
                    if tick >= next_renewal:
                        self._lead_or_stand_by()
                        next_renewal = tick + (_RENEW_EVERY_S if self._is_in_step() else 0.5)
                    if self._streams and tick >= next_relay:
                        STATUS_RELAY.write()
                        next_relay = tick + _RELAY_EVERY_S
                    if self._streams and tick >= next_sweep:
                        # One moment for both: what falls due in between waits for the next round.
                        now = timezone.now()
                        if self._is_in_step() and tick >= self._vouch_from:
                            vouch_for_settled(now)
                        sweep_once(now)
                        next_sweep = tick + _SWEEP_EVERY_S
                    if self._streams and tick >= next_inventory:
                        # It finds what no watch follows: Services, Ingresses and Secrets that have drifted, orphans.
                        request_inventory(timezone.now())
                        next_inventory = tick + RELIST_EVERY_S
                    if self._streams and tick >= next_beat:
                        enqueue_task(path_of(beat))
                        next_beat = tick + heartbeats.BEAT_EVERY.total_seconds()
                except Exception:  # the database may be gone for a while; the watcher outlives that
                    logger.exception("The watcher could not do its round.")
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
        self._since = (self._since or now) if is_in_step else None
        details: dict[str, object] = {
            "in_step": is_in_step,
            "since": self._since.isoformat() if self._since else "",
            "trouble": self._trouble(),
            "streams": read_pulses(stream for stream, _ in self._streams.values()),
        }
        if heartbeats.acquire(heartbeats.WATCHER, self._token, heartbeats.WATCHER_LEASE, now, details):
            self._begin_streams()
        elif self._streams:
            logger.warning("Another watcher leads; this one stands by.")
            self._end_streams()

    def _begin_streams(self) -> None:
        """Watch every namespace that has something of a project's, and no other."""
        if not self._streams:
            # Each settled project is checked once for what changed before: settings, or while nobody watched.
            self._vouch_from = time.monotonic() + _CHECKED_WITHIN * settings.SETTLED_POLL_S
            logger.info("The watcher leads.")
        present = Project.objects.present().exclude(desired_state=DesiredState.REGISTERED).order_by()
        namespaces = set(present.values_list("namespace", flat=True).distinct()) | {settings.KUBE_NAMESPACE}
        for key in [key for key in self._streams if key[1] not in namespaces]:
            self._streams.pop(key)[0].stop.set()
        for namespace in namespaces:
            for subject in SUBJECTS:
                key = (subject.name, namespace)
                if key in self._streams:
                    continue
                clusters = self._streams.get((CLUSTERS, namespace)) if subject.name == SECRETS else None
                stream = Stream(subject, namespace, threading.Event(), clusters[0] if clusters else None, self._connect)
                thread = threading.Thread(target=stream.run, name=f"watch-{subject.name}-{namespace}", daemon=True)
                self._streams[key] = (stream, thread)
                thread.start()

    def _end_streams(self) -> None:
        # Threads that wait for their next event are daemons: they end with their connection or with the process.
        for stream, _ in self._streams.values():
            stream.stop.set()
        self._streams.clear()

    def _is_in_step(self) -> bool:
        return bool(self._streams) and all(stream.is_in_step for stream, _ in self._streams.values())

    def _trouble(self) -> str:
        return next((stream.trouble for stream, _ in self._streams.values() if stream.trouble), "")


def read_pulses(streams: Iterable[Stream]) -> dict[str, dict[str, object]]:
    """Return what the metrics say of each kind watched.

    `events` since the start; `event_at`, when the last one came (ISO 8601, "" for never); `heard_at`, when the most
    silent of its streams last said anything, bookmarks included; `lag_s`, the slowest event since the last reading.
    """
    kinds: dict[str, list[Pulse]] = {}
    for stream in streams:
        kinds.setdefault(stream.subject.name, []).append(stream.pulse)
    return {
        kind: {
            "events": sum(pulse.events for pulse in pulses),
            "event_at": max(_written(pulse.event_at) for pulse in pulses),
            "heard_at": min(_written(pulse.heard_at) for pulse in pulses),
            "lag_s": max(pulse.take_slowest() for pulse in pulses),
        }
        for kind, pulses in kinds.items()
    }


def _written(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
