"""The watcher: one list+watch a kind and namespace wakes the projects whose objects changed, and a sweep the rest.

One watcher leads, by a lease row; others stand by. It reads raw JSON, writes nothing but tasks and its lease, and
keeps of each object only a short fingerprint.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_q.tasks import async_task

from projects.found_cluster import request_inventory
from projects.models import DatabaseCluster, Project
from projects.scheduling import enqueue_passes_by_uid
from projects.states import DesiredState, Phase
from provisioning import kube as k
from provisioning import liveness, sweeping
from provisioning.models import ClusterChange
from provisioning.names import INSTANCE_LABEL, PROJECT_ID_LABEL, as_uid, project_id_of
from provisioning.readiness import (
    Object,
    State,
    judge_cluster,
    judge_sandbox,
    labels_of,
    metadata_of,
    text,
)
from provisioning.watched_words import Words

logger = logging.getLogger(__name__)

_RENEW_EVERY_S = 3.0
_SWEEP_EVERY_S = 3.0
_WORDS_EVERY_S = 1.0
# Passes put the next check off by at most so many times SETTLED_POLL_S.
_CHECKED_WITHIN = 1.2
_WATCH_TIMEOUT_S = 240
# Watches are not trusted for ever: a lost event is found by the next list.
_RELIST_EVERY_S = 600.0
_LONGEST_BACKOFF_S = 15.0
_CLUSTERS, _SECRETS = "clusters", "secrets"


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind that is watched: which objects, what of them matters, and whose they are.

    `fingerprint` maps an object to what a decision depends on; an object that was never seen counts as `unseen`, so
    that the echo of our own apply wakes nobody. `owners` maps objects to the uids of their projects. `cluster` names
    the Cluster of an object that no longer is as a pass may have found it, "" where passes look for themselves.
    `words` is told of changes that no decision depends on.
    """

    name: str
    kind: Callable[[k.Kube], k.Kind]
    labels: str
    fingerprint: Callable[[Object], str]
    unseen: str
    owners: Callable[[Iterable[Object]], set[str]]
    cluster: Callable[[Object], str] = lambda item: ""
    words: Callable[[Object], None] = lambda item: None


def _labelled_owners(items: Iterable[Object]) -> set[str]:
    return {str(uid) for uid in (as_uid(project_id_of(labels_of(item))) for item in items) if uid}


def _instance_owners(items: Iterable[Object]) -> set[str]:
    """Return the projects of the databases that KubeBlocks' Secrets belong to."""
    names = {_instance(item) for item in items}
    rows = DatabaseCluster.objects.filter(name__in=names, retired_at=None)
    return {str(uid) for uid in rows.values_list("project__uid", flat=True)}


def _name(item: Object) -> str:
    return text(metadata_of(item).get("name"))


def _instance(item: Object) -> str:
    return labels_of(item).get(INSTANCE_LABEL, "")


def _cluster_fingerprint(item: Object) -> str:
    seen = judge_cluster(item)
    return f"{seen.state.value} {seen.message if seen.state is State.FAILED else ''}".strip()


def _secret_fingerprint(item: Object) -> str:
    return text(metadata_of(item).get("resourceVersion"))


def _sandbox_fingerprint(item: Object) -> str:
    return judge_sandbox(item).state.value


WORDS = Words()
SUBJECTS = (
    Subject(
        _CLUSTERS,
        lambda kube: k.cluster_kind(kube.cluster_api_version()),
        PROJECT_ID_LABEL,
        _cluster_fingerprint,
        State.WAITING.value,
        _labelled_owners,
        _name,
        WORDS.take,
    ),
    Subject(
        _SECRETS,
        lambda kube: k.SECRET,
        f"app.kubernetes.io/managed-by=kubeblocks,{INSTANCE_LABEL}",
        _secret_fingerprint,
        "",
        _instance_owners,
        _instance,
    ),
    Subject(
        "statefulsets",
        lambda kube: k.STATEFULSET,
        PROJECT_ID_LABEL,
        _sandbox_fingerprint,
        State.WAITING.value,
        _labelled_owners,
    ),
)


class Stream:
    """One list+watch. Runs in a thread of its own until `stop` is set; its troubles never end it."""

    def __init__(
        self, subject: Subject, namespace: str, stop: threading.Event, clusters: "Stream | None" = None
    ) -> None:
        """`clusters`: the stream of the Clusters that this one's objects belong to, if it is not that one itself."""
        self.subject, self.namespace, self.stop, self._clusters = subject, namespace, stop, clusters
        self.trouble = ""
        self.is_in_step = False
        self._fingerprints: dict[str, str] | None = None

    def run(self) -> None:
        backoff_s = 1.0
        try:
            while not self.stop.is_set():
                try:
                    self._follow()
                    backoff_s = 1.0
                except k.WatchExpiredError:
                    continue
                except Exception as error:
                    self.is_in_step = False
                    self.trouble = str(error) if isinstance(error, k.KubeError) else type(error).__name__
                    if not isinstance(error, k.KubeError):
                        logger.exception("Watching %s in %s failed.", self.subject.name, self.namespace)
                    k.disconnect()
                    connection.close()  # a broken one is not mended by itself in a thread of ours
                    self.stop.wait(backoff_s)
                    backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        finally:
            connection.close()

    def _follow(self) -> None:
        """List, then watch until the next list is due."""
        kube = k.connect()
        kind = self.subject.kind(kube)
        items, version = kube.list_with_version(kind, self.namespace, labels=self.subject.labels)
        self._compare(items)
        self.is_in_step, self.trouble = True, ""
        relist_at = time.monotonic() + _RELIST_EVERY_S
        while not self.stop.is_set() and time.monotonic() < relist_at:
            events = kube.watch(
                kind,
                self.namespace,
                labels=self.subject.labels,
                resource_version=version,
                timeout_s=_WATCH_TIMEOUT_S,
            )
            for event in events:
                version = text(metadata_of(event.object).get("resourceVersion")) or version
                if event.type != "BOOKMARK":
                    self.take(event)
                if self.stop.is_set():
                    return

    def awaits(self, name: str) -> bool:
        """Whether the object is known not to be ready: its next change will wake its project, and the pass that
        follows will look at everything."""
        return self.is_in_step and (self._fingerprints or {}).get(name) == State.WAITING.value

    def _compare(self, items: list[Object]) -> None:
        """Wake the projects of objects that differ from what was known; after a start, of all that is not settled."""
        before, now = self._fingerprints, {_name(item): self.subject.fingerprint(item) for item in items}
        self._fingerprints = now
        if before is None:
            self._wake_unsettled(items)
            return
        changed = [item for item in items if before.get(_name(item), self.subject.unseen) != now[_name(item)]]
        self._tell(changed)
        if gone := before.keys() - now.keys():
            if self.subject.name == _CLUSTERS:
                self._mark(gone)
            self._wake_unsettled(items)

    def _wake_unsettled(self, items: list[Object]) -> None:
        """After a gap: whoever still waits for something, and whoever runs without an object of this kind in order."""
        fine = _labelled_owners(item for item in items if self.subject.fingerprint(item).startswith(State.READY.value))
        projects = Project.objects.filter(namespace=self.namespace).exclude(desired_state=DesiredState.REGISTERED)
        waiting = projects.exclude(phase__in=[Phase.RUNNING, Phase.DELETED])
        uids = {str(uid) for uid in waiting.values_list("uid", flat=True)}
        if self.subject.unseen:
            running = projects.filter(phase=Phase.RUNNING).values_list("uid", flat=True)
            uids |= {str(uid) for uid in running} - fine
        self._wake(uids)

    def take(self, event: k.WatchEvent) -> None:
        """Wake the project of one changed object. A broken object costs a log line, not the stream."""
        known = self._fingerprints if self._fingerprints is not None else {}
        key = _name(event.object)
        try:
            fingerprint = self.subject.fingerprint(event.object)
            if event.type == "DELETED":
                known.pop(key, None)
            elif known.get(key, self.subject.unseen) == fingerprint:
                known[key] = fingerprint
                self.subject.words(event.object)
                return
            else:
                known[key] = fingerprint
            if self._clusters is None or not self._clusters.awaits(_instance(event.object)):
                self._tell([event.object], is_gone=event.type == "DELETED")
        except Exception:  # the sweep finds what this event would have told
            logger.exception("An event of %s in %s could not be used.", self.subject.name, self.namespace)
            known.pop(key, None)
            if not connection.in_atomic_block:
                connection.close()  # a broken one is not mended by itself in a thread of ours

    def _tell(self, changed: list[Object], *, is_gone: bool = False) -> None:
        """Wake the projects of changed objects; those of databases that no longer are as they were look at all."""
        if owners := self.subject.owners(changed):
            # A Cluster that becomes ready is what its project waits for, and no reason to look twice.
            worse = [item for item in changed if is_gone or self.subject.fingerprint(item) != State.READY.value]
            self._mark({name for name in map(self.subject.cluster, worse) if name})
        self._wake(owners)

    def _mark(self, clusters: Iterable[str]) -> None:
        for name in sorted(clusters):
            ClusterChange.objects.update_or_create(
                namespace=self.namespace, cluster=name, defaults={"at": timezone.now()}
            )

    def _wake(self, uids: set[str]) -> None:
        if uids:
            enqueue_passes_by_uid(sorted(uids), now=timezone.now())


class Watcher:
    """Leads when it can, stands by when it can't. `run` returns when `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._token = uuid.uuid4()
        self._streams: dict[tuple[str, str], tuple[Stream, threading.Thread]] = {}
        self._since: datetime | None = None
        self._vouch_from = 0.0

    def run(self) -> None:
        logger.info("The watcher stands by.")
        next_renewal = next_sweep = next_words = next_beat = 0.0
        next_inventory = time.monotonic() + _RELIST_EVERY_S
        try:
            while not self._stop.is_set():
                tick = time.monotonic()
                try:
                    if tick >= next_renewal:
                        self._lead_or_stand_by()
                        next_renewal = tick + (_RENEW_EVERY_S if self._is_in_step() else 0.5)
                    if self._streams and tick >= next_words:
                        WORDS.write()
                        next_words = tick + _WORDS_EVERY_S
                    if self._streams and tick >= next_sweep:
                        # One moment for both: what falls due in between waits for the next round.
                        now = timezone.now()
                        if self._is_in_step() and tick >= self._vouch_from:
                            sweeping.vouch_for_settled(now)
                        sweeping.sweep_once(now)
                        next_sweep = tick + _SWEEP_EVERY_S
                    if self._streams and tick >= next_inventory:
                        # It finds what no watch follows: Services, Ingresses and Secrets that have drifted, orphans.
                        request_inventory(timezone.now())
                        next_inventory = tick + _RELIST_EVERY_S
                    if self._streams and tick >= next_beat:
                        async_task("provisioning.tasks.beat")
                        next_beat = tick + liveness.BEAT_EVERY.total_seconds()
                except Exception:  # the database may be gone for a while; the watcher outlives that
                    logger.exception("The watcher could not do its round.")
                    connection.close()
                    self._stop.wait(1.0)
                self._stop.wait(0.2)
        finally:
            self._end_streams()
            liveness.give_up(liveness.WATCHER, self._token)
            connection.close()
            logger.info("The watcher has stopped.")

    def _lead_or_stand_by(self) -> None:
        now, is_in_step = timezone.now(), self._is_in_step()
        self._since = (self._since or now) if is_in_step else None
        details: dict[str, object] = {
            "in_step": is_in_step,
            "since": self._since.isoformat() if self._since else "",
            "trouble": self._trouble(),
        }
        if liveness.acquire(liveness.WATCHER, self._token, liveness.WATCHER_LEASE, now, details):
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
                clusters = self._streams.get((_CLUSTERS, namespace)) if subject.name == _SECRETS else None
                stream = Stream(subject, namespace, threading.Event(), clusters[0] if clusters else None)
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
