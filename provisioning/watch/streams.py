"""The watches: one list+watch for each kind and namespace, which enqueues a pass for each project whose object changed.

Raw JSON in, tasks out. Only a short fingerprint of each object is kept.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.utils import timezone

from projects.domain.states import DesiredState, Phase
from projects.models import DatabaseCluster, Project
from projects.services.queue import enqueue_passes_by_uid
from provisioning.decisions.readiness import State, judge_cluster, judge_sandbox
from provisioning.identity import prove_own_cluster
from provisioning.kube.client import Kube, WatchEvent, connect, disconnect
from provisioning.kube.errors import KubeError, WatchExpiredError
from provisioning.kube.kinds import SECRET, STATEFULSET, Kind, cluster_kind
from provisioning.models import ClusterChange
from provisioning.objects.names import INSTANCE_LABEL, PROJECT_ID_LABEL, as_uid, project_id_of
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, text
from provisioning.watch.server_probe import SILENCE_LIMIT_S
from provisioning.watch.status_relay import StatusRelay

logger = logging.getLogger(__name__)

_WATCH_TIMEOUT_S = 240
# A watch may lose an event; the next list finds it.
RELIST_EVERY_S = 600.0
_LONGEST_BACKOFF_S = 15.0
_CREATION = ("", "Creating")
CLUSTERS, SECRETS = "clusters", "secrets"
# One list at a time: its pages are most of the watcher's memory.
_LISTING = threading.Lock()


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """A kind that is watched.

    `labels`: the selector. `fingerprint`: the part of an object on which decisions depend. `unseen`: the fingerprint of
    an object that was never seen, so that the event of the panel's own apply enqueues nothing. `owners`: the uids of
    the objects' projects. `cluster`: the name of the Cluster that an object belongs to, where passes rely on the watch
    instead of reading the object, else "". `relay`: receives changes on which no decision depends.
    """

    name: str
    kind: Callable[[Kube], Kind]
    labels: str
    fingerprint: Callable[[Object], str]
    unseen: str
    owners: Callable[[Iterable[Object]], set[str]]
    cluster: Callable[[Object], str] = lambda item: ""
    relay: Callable[[Object], None] = lambda item: None


def _labeled_owners(items: Iterable[Object]) -> set[str]:
    return {str(uid) for uid in (as_uid(project_id_of(labels_of(item))) for item in items) if uid}


def _instance_owners(items: Iterable[Object]) -> set[str]:
    """Return the uids of the projects whose databases these Secrets belong to."""
    names = {_instance(item) for item in items}
    rows = DatabaseCluster.objects.filter(name__in=names, retired_at=None)
    return {str(uid) for uid in rows.values_list("project__uid", flat=True)}


def _name(item: Object) -> str:
    return text(metadata_of(item).get("name"))


def _instance(item: Object) -> str:
    return labels_of(item).get(INSTANCE_LABEL, "")


def _cluster_fingerprint(item: Object) -> str:
    """While a Cluster is created, its phase changes nothing: the relay copies the messages. Afterwards it does."""
    seen = judge_cluster(item)
    match seen.state:
        case State.FAILED:
            told = seen.message
        case State.WAITING | State.STOPPED if seen.phase not in _CREATION:
            told = seen.phase
        case State.DELETING:
            told = text(mapping(item.get("spec")).get("terminationPolicy"), 30)
        case _:
            told = ""
    return f"{seen.state.value} {told}".strip()


def _secret_fingerprint(item: Object) -> str:
    return text(metadata_of(item).get("resourceVersion"))


def _sandbox_fingerprint(item: Object) -> str:
    return judge_sandbox(item).state.value


STATUS_RELAY = StatusRelay()
WATCHED_KINDS = (
    WatchedKind(
        CLUSTERS,
        lambda kube: cluster_kind(kube.cluster_api_version()),
        PROJECT_ID_LABEL,
        _cluster_fingerprint,
        State.WAITING.value,
        _labeled_owners,
        _name,
        STATUS_RELAY.take,
    ),
    WatchedKind(
        SECRETS,
        lambda kube: SECRET,
        f"app.kubernetes.io/managed-by=kubeblocks,{INSTANCE_LABEL}",
        _secret_fingerprint,
        "",
        _instance_owners,
        _instance,
    ),
    WatchedKind(
        "statefulsets",
        lambda kube: STATEFULSET,
        PROJECT_ID_LABEL,
        _sandbox_fingerprint,
        State.WAITING.value,
        _labeled_owners,
    ),
)


@dataclass(slots=True)
class StreamStats:
    """Statistics of a stream. `heard_at`: the last event or bookmark; `slowest_s`: the longest time from reading an
    event to enqueuing its pass, since the last reset."""

    events: int = 0
    heard_at: datetime | None = None
    event_at: datetime | None = None
    slowest_s: float = 0.0

    def note(self, *, is_event: bool, took_s: float) -> None:
        self.heard_at = timezone.now()
        if is_event:
            self.events += 1
            self.event_at = self.heard_at
            self.slowest_s = max(self.slowest_s, took_s)

    def reset_slowest(self) -> float:
        slowest_s, self.slowest_s = self.slowest_s, 0.0
        return slowest_s


class Stream:
    """One list+watch. `run` needs its own thread and returns when `stop` is set; errors don't end it."""

    def __init__(
        self,
        watched: WatchedKind,
        namespace: str,
        stop: threading.Event,
        clusters: "Stream | None" = None,
        connect: Callable[[], Kube] = connect,
    ) -> None:
        """`clusters`: for a stream of Secrets, the stream of the Clusters that they belong to."""
        self.watched, self.namespace, self.stop, self._clusters = watched, namespace, stop, clusters
        self._connect = connect
        self.error = ""
        self.is_in_step = False
        self.stats = StreamStats()
        self._kube: Kube | None = None
        self._listed_at_s = 0.0
        self._fingerprints: dict[str, str] | None = None

    def run(self) -> None:
        backoff_s = 1.0
        try:
            while not self.stop.is_set():
                try:
                    self._follow()
                    backoff_s = 1.0
                except WatchExpiredError:
                    continue
                except Exception as error:
                    self.is_in_step = False
                    self.error = str(error) if isinstance(error, KubeError) else type(error).__name__
                    if not isinstance(error, KubeError):
                        logger.exception("Watching %s in %s failed.", self.watched.name, self.namespace)
                    disconnect()
                    connection.close()  # Django does not replace a broken connection in such a thread
                    self.stop.wait(backoff_s)
                    backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        finally:
            connection.close()

    def _follow(self) -> None:
        """List, then watch until the next list is due or the stream is interrupted."""
        kube = self._kube = self._connect()
        prove_own_cluster(kube, is_fresh=True)
        kind = self.watched.kind(kube)
        version = ""

        def pages() -> Iterator[list[Object]]:
            nonlocal version
            for items, version in kube.list_pages(kind, self.namespace, labels=self.watched.labels):  # noqa: B007
                yield items

        with _LISTING:
            self.compare(pages())
        self._listed_at_s = time.monotonic()
        self.is_in_step, self.error = True, ""
        self.stats.note(is_event=False, took_s=0.0)
        relist_at = time.monotonic() + RELIST_EVERY_S
        while self.is_in_step and not self.stop.is_set() and time.monotonic() < relist_at:
            events = kube.watch(
                kind,
                self.namespace,
                labels=self.watched.labels,
                resource_version=version,
                timeout_s=_WATCH_TIMEOUT_S,
            )
            for event in events:
                began = time.monotonic()
                version = text(metadata_of(event.object).get("resourceVersion")) or version
                if is_event := event.type != "BOOKMARK":
                    self.take(event)
                self.stats.note(is_event=is_event, took_s=time.monotonic() - began)
                if self.stop.is_set():
                    return

    def interrupt(self, error: str) -> None:
        """End the watch of a server that doesn't answer. The stream lists again as soon as it does: a recent list shows
        that it answers again, which the probe may learn seconds later."""
        if self.is_in_step and time.monotonic() - self._listed_at_s > SILENCE_LIMIT_S:
            self.is_in_step, self.error = False, error
            if self._kube is not None:
                self._kube.end_watches()

    def awaits(self, name: str) -> bool:
        """Whether the object is not ready or not known yet: its next change enqueues a pass, which reads everything."""
        known = self._fingerprints or {}
        return self.is_in_step and known.get(name, State.WAITING.value) == State.WAITING.value

    def compare(self, pages: Iterable[list[Object]]) -> None:
        """Enqueue passes for the projects of objects that have changed; the first time, of all that are not settled.

        `pages`: all objects of the kind, a page at a time, as thousands of parsed objects take much memory.
        """
        before, now, ready = self._fingerprints, dict[str, str](), set[str]()
        for items in pages:
            found = {_name(item): self.watched.fingerprint(item) for item in items}
            now |= found
            ready |= _labeled_owners(item for item in items if found[_name(item)].startswith(State.READY.value))
            if before is not None:
                unseen = self.watched.unseen
                self._notify([item for item in items if before.get(_name(item), unseen) != found[_name(item)]])
        self._fingerprints = now
        gone = set[str]() if before is None else before.keys() - now.keys()
        if gone and self.watched.name == CLUSTERS:
            self._record_changes(gone)
        if gone or before is None:
            self._enqueue_unsettled(ready)

    def _enqueue_unsettled(self, ready: set[str]) -> None:
        """Enqueue passes for the projects that are waiting, and for those that run but whose object of this kind is not
        ready. `ready`: the uids of the projects whose object is."""
        projects = Project.objects.filter(namespace=self.namespace).exclude(desired_state=DesiredState.REGISTERED)
        waiting = projects.exclude(phase__in=[Phase.RUNNING, Phase.DELETED])
        uids = {str(uid) for uid in waiting.values_list("uid", flat=True)}
        if self.watched.unseen:
            running = projects.filter(phase=Phase.RUNNING).values_list("uid", flat=True)
            uids |= {str(uid) for uid in running} - ready
        self._enqueue(uids)

    def take(self, event: WatchEvent) -> None:
        """Enqueue a pass for the project of one changed object. An object that can't be read is logged."""
        known = self._fingerprints if self._fingerprints is not None else {}
        key = _name(event.object)
        try:
            fingerprint = self.watched.fingerprint(event.object)
            if event.type == "DELETED":
                known.pop(key, None)
            elif known.get(key, self.watched.unseen) == fingerprint:
                known[key] = fingerprint
                self.watched.relay(event.object)
                return
            else:
                known[key] = fingerprint
            if self._clusters is None or not self._clusters.awaits(_instance(event.object)):
                self._notify([event.object], is_gone=event.type == "DELETED")
        except Exception:  # the sweep finds the change later
            logger.exception("An event of %s in %s could not be processed.", self.watched.name, self.namespace)
            known.pop(key, None)
            if not connection.in_atomic_block:
                connection.close()  # Django does not replace a broken connection in such a thread

    def _notify(self, changed: list[Object], *, is_gone: bool = False) -> None:
        """Enqueue passes for the projects of changed objects, and record which databases those have to read again."""
        if owners := self.watched.owners(changed):
            # A Cluster that becomes ready is expected: nothing about it has to be read again.
            worse = [item for item in changed if is_gone or self.watched.fingerprint(item) != State.READY.value]
            self._record_changes({name for name in map(self.watched.cluster, worse) if name})
        self._enqueue(owners)

    def _record_changes(self, clusters: Iterable[str]) -> None:
        for name in sorted(clusters):
            ClusterChange.objects.update_or_create(
                namespace=self.namespace, cluster=name, defaults={"at": timezone.now()}
            )

    def _enqueue(self, uids: set[str]) -> None:
        if uids:
            enqueue_passes_by_uid(sorted(uids), now=timezone.now())
