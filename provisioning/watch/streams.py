"""What the watcher follows: one list+watch a kind and namespace, which wakes the projects whose objects changed.

Raw JSON in, tasks out; of each object only a short fingerprint is kept.
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
from provisioning.kube.client import Kube, WatchEvent, connect, disconnect
from provisioning.kube.errors import KubeError, WatchExpiredError
from provisioning.kube.kinds import SECRET, STATEFULSET, Kind, cluster_kind
from provisioning.models import ClusterChange
from provisioning.objects.names import INSTANCE_LABEL, PROJECT_ID_LABEL, as_uid, project_id_of
from provisioning.objects.readers import Object, labels_of, metadata_of, text
from provisioning.watch.status_relay import StatusRelay

logger = logging.getLogger(__name__)

_WATCH_TIMEOUT_S = 240
# Watches are not trusted for ever: a lost event is found by the next list.
RELIST_EVERY_S = 600.0
_LONGEST_BACKOFF_S = 15.0
CLUSTERS, SECRETS = "clusters", "secrets"
# One list at a time: their pages are the most that the watcher holds.
_LISTING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Subject:
    """A kind that is watched: which objects, what of them matters, and whose they are.

    `fingerprint` maps an object to what a decision depends on; an object that was never seen counts as `unseen`, so
    that the echo of our own apply wakes nobody. `owners` maps objects to the uids of their projects. `cluster` names
    the Cluster of an object that no longer is as a pass may have found it, "" where passes look for themselves.
    `relay` is told of changes that no decision depends on.
    """

    name: str
    kind: Callable[[Kube], Kind]
    labels: str
    fingerprint: Callable[[Object], str]
    unseen: str
    owners: Callable[[Iterable[Object]], set[str]]
    cluster: Callable[[Object], str] = lambda item: ""
    relay: Callable[[Object], None] = lambda item: None


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


STATUS_RELAY = StatusRelay()
SUBJECTS = (
    Subject(
        CLUSTERS,
        lambda kube: cluster_kind(kube.cluster_api_version()),
        PROJECT_ID_LABEL,
        _cluster_fingerprint,
        State.WAITING.value,
        _labelled_owners,
        _name,
        STATUS_RELAY.take,
    ),
    Subject(
        SECRETS,
        lambda kube: SECRET,
        f"app.kubernetes.io/managed-by=kubeblocks,{INSTANCE_LABEL}",
        _secret_fingerprint,
        "",
        _instance_owners,
        _instance,
    ),
    Subject(
        "statefulsets",
        lambda kube: STATEFULSET,
        PROJECT_ID_LABEL,
        _sandbox_fingerprint,
        State.WAITING.value,
        _labelled_owners,
    ),
)


@dataclass(slots=True)
class Pulse:
    """How a stream is: what it heard last and when (bookmarks are heard, but no events), and how long it needed."""

    events: int = 0
    heard_at: datetime | None = None
    event_at: datetime | None = None
    # From an event's last byte to its task in the queue; the slowest since somebody looked.
    slowest_s: float = 0.0

    def note(self, *, is_event: bool, took_s: float) -> None:
        self.heard_at = timezone.now()
        if is_event:
            self.events += 1
            self.event_at = self.heard_at
            self.slowest_s = max(self.slowest_s, took_s)

    def take_slowest(self) -> float:
        slowest_s, self.slowest_s = self.slowest_s, 0.0
        return slowest_s


class Stream:
    """One list+watch. Runs in a thread of its own until `stop` is set; its troubles never end it."""

    def __init__(
        self,
        subject: Subject,
        namespace: str,
        stop: threading.Event,
        clusters: "Stream | None" = None,
        connect: Callable[[], Kube] = connect,
    ) -> None:
        """`clusters`: the stream of the Clusters that this one's objects belong to, if it is not that one itself."""
        self.subject, self.namespace, self.stop, self._clusters = subject, namespace, stop, clusters
        self._connect = connect
        self.trouble = ""
        self.is_in_step = False
        self.pulse = Pulse()
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
                    self.trouble = str(error) if isinstance(error, KubeError) else type(error).__name__
                    if not isinstance(error, KubeError):
                        logger.exception("Watching %s in %s failed.", self.subject.name, self.namespace)
                    disconnect()
                    connection.close()  # a broken one is not mended by itself in a thread of ours
                    self.stop.wait(backoff_s)
                    backoff_s = min(backoff_s * 2, _LONGEST_BACKOFF_S)
        finally:
            connection.close()

    def _follow(self) -> None:
        """List, then watch until the next list is due."""
        kube = self._connect()
        kind = self.subject.kind(kube)
        version = ""

        def pages() -> Iterator[list[Object]]:
            nonlocal version
            for items, version in kube.list_pages(kind, self.namespace, labels=self.subject.labels):  # noqa: B007
                yield items

        with _LISTING:
            self.compare(pages())
        self.is_in_step, self.trouble = True, ""
        self.pulse.note(is_event=False, took_s=0.0)
        relist_at = time.monotonic() + RELIST_EVERY_S
        while not self.stop.is_set() and time.monotonic() < relist_at:
            events = kube.watch(
                kind,
                self.namespace,
                labels=self.subject.labels,
                resource_version=version,
                timeout_s=_WATCH_TIMEOUT_S,
            )
            for event in events:
                began = time.monotonic()
                version = text(metadata_of(event.object).get("resourceVersion")) or version
                if is_event := event.type != "BOOKMARK":
                    self.take(event)
                self.pulse.note(is_event=is_event, took_s=time.monotonic() - began)
                if self.stop.is_set():
                    return

    def awaits(self, name: str) -> bool:
        """Whether the object is not ready, or not heard of yet: its next change will wake its project, and the pass
        that follows will look at everything."""
        known = self._fingerprints or {}
        return self.is_in_step and known.get(name, State.WAITING.value) == State.WAITING.value

    def compare(self, pages: Iterable[list[Object]]) -> None:
        """Wake the projects of objects that differ from what was known; after a start, of all that is not settled.

        `pages` are all objects there are, some at a time: thousands of them parsed at once are what memory goes for.
        """
        before, now, fine = self._fingerprints, dict[str, str](), set[str]()
        for items in pages:
            found = {_name(item): self.subject.fingerprint(item) for item in items}
            now |= found
            fine |= _labelled_owners(item for item in items if found[_name(item)].startswith(State.READY.value))
            if before is not None:
                unseen = self.subject.unseen
                self._tell([item for item in items if before.get(_name(item), unseen) != found[_name(item)]])
        self._fingerprints = now
        gone = set[str]() if before is None else before.keys() - now.keys()
        if gone and self.subject.name == CLUSTERS:
            self._mark(gone)
        if gone or before is None:
            self._wake_unsettled(fine)

    def _wake_unsettled(self, fine: set[str]) -> None:
        """After a gap: whoever still waits for something, and whoever runs and is not `fine`, the uids of the projects
        whose object of this kind is in order."""
        projects = Project.objects.filter(namespace=self.namespace).exclude(desired_state=DesiredState.REGISTERED)
        waiting = projects.exclude(phase__in=[Phase.RUNNING, Phase.DELETED])
        uids = {str(uid) for uid in waiting.values_list("uid", flat=True)}
        if self.subject.unseen:
            running = projects.filter(phase=Phase.RUNNING).values_list("uid", flat=True)
            uids |= {str(uid) for uid in running} - fine
        self._wake(uids)

    def take(self, event: WatchEvent) -> None:
        """Wake the project of one changed object. A broken object costs a log line, not the stream."""
        known = self._fingerprints if self._fingerprints is not None else {}
        key = _name(event.object)
        try:
            fingerprint = self.subject.fingerprint(event.object)
            if event.type == "DELETED":
                known.pop(key, None)
            elif known.get(key, self.subject.unseen) == fingerprint:
                known[key] = fingerprint
                self.subject.relay(event.object)
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
