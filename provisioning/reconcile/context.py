"""What a pass works with: the project's rows as read under the lease, and a snapshot of its objects in the cluster."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest

from django.conf import settings
from django.db import transaction
from django.db.models import prefetch_related_objects

from projects.domain.connection import Connection
from projects.domain.states import Level, Origin
from projects.models import DatabaseCluster, Event, LastAppliedManifest, Project, Sandbox
from projects.services.events import record_event
from provisioning.decisions.types import ExistingDatabase, ObservedCredentials, Remaining, Verification
from provisioning.identity import connect_to_own_cluster
from provisioning.kube.client import Kube
from provisioning.kube.kinds import Kind
from provisioning.objects.diff import Difference, conceal, list_admitted
from provisioning.objects.manifests import Owner
from provisioning.objects.readers import Object, metadata_of, text, uid_of
from provisioning.reconcile.lease import Lease

# The actor of the events that passes write.
PANEL = "panel"


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of connecting with credentials, a sentence about it, and when."""

    verification: Verification
    note: str
    at: datetime

    @property
    def is_verified(self) -> bool:
        return self.verification is Verification.VERIFIED


@dataclass
class Snapshot:
    """A project's objects as one pass has read them, and what it has found out about them.

    An object is read once a pass, when a decision first needs it. An effect replaces what was read with the API
    server's answer. `is_…_known` tells an object that does not exist from one that was not read.
    """

    cluster: Object | None = None
    is_cluster_known: bool = False
    # Why the Cluster is late; None: not looked at.
    database_note: str | None = None
    # The Cluster that a project without a database row already has.
    existing: ExistingDatabase | None = None
    secrets: list[Object] | None = None
    service: Object | None = None
    # How the Secret's credentials compare with the captured ones; None if they were not compared.
    credentials: ObservedCredentials | None = None
    secret_uid: str = ""
    # The outcomes of connecting, each made once a pass.
    proofs: dict[Connection, Proof] = field(default_factory=dict)
    statefulset: Object | None = None
    is_statefulset_known: bool = False
    sandbox_note: str = ""
    # Read only by a checkup, which compares every object of the sandbox.
    sandbox_service: Object | None = None
    is_sandbox_service_known: bool = False
    sandbox_objects: dict[Kind, dict[str, Object]] = field(default_factory=dict)
    # None: not compared yet. Complete: every object was compared.
    drift: tuple[Difference, ...] | None = None
    is_drift_complete: bool = False
    # Of a project that is removed, by kind, namespace and name.
    remaining: dict[tuple[Kind, str, str], Remaining] = field(default_factory=dict)
    # Objects with the project's label that the panel did not create.
    foreign: list[tuple[Kind, str, str]] = field(default_factory=list)
    # Deletion is requested once a pass, even if the API server accepts the request and does nothing.
    deletion_requested: set[tuple[Kind, str, str]] = field(default_factory=set)

    def forget_sandbox(self) -> None:
        """Read the sandbox's objects again when they are next needed; its StatefulSet is known from the answer."""
        self.sandbox_service, self.is_sandbox_service_known = None, False
        self.sandbox_objects, self.drift = {}, None

    def forget_cluster(self) -> None:
        self.cluster, self.is_cluster_known, self.existing = None, False, None
        self.database_note = None
        self.forget_credentials()

    def forget_credentials(self) -> None:
        """Read the Secrets again, and connect again, when the credentials are next needed."""
        self.secrets, self.service, self.credentials = None, None, None
        self.proofs = {}


@dataclass
class PassContext:
    """A project's rows and its snapshot. Effects and records change the rows in memory; `store` writes the changes."""

    lease: Lease
    project: Project
    database: DatabaseCluster | None
    sandbox: Sandbox | None
    snapshot: Snapshot = field(default_factory=Snapshot)
    # The random part of the names that this pass chooses; None: a random one each.
    name_suffix: str | None = None
    # Not stored yet: fields of the rows above, new rows, events, manifests as they were applied.
    unsaved: dict[type[DatabaseCluster | Sandbox], set[str]] = field(default_factory=dict)
    added: list[DatabaseCluster | Sandbox] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    applied: list[LastAppliedManifest] = field(default_factory=list)
    # The deadline of a database that was replaced: its successor gets no longer one.
    inherited_deadline: datetime | None = None

    @property
    def kube(self) -> Kube:
        """The client, connected by the first request: not every pass makes one. Raises KubeError, also for another
        cluster than the state belongs to."""
        return connect_to_own_cluster()

    @property
    def owner(self) -> Owner:
        return Owner(self.project.kubernetes_name, self.project.uid)

    def set(self, row: DatabaseCluster | Sandbox, **values: object) -> None:
        """Set fields of one of the rows, and remember which differ from what is stored."""
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
                if not row._state.adding:
                    self.unsaved.setdefault(type(row), set()).add(name)

    def add_database(self, row: DatabaseCluster) -> None:
        self.database = row
        self.added.append(row)

    def add_sandbox(self, row: Sandbox) -> None:
        self.sandbox = row
        self.added.append(row)

    def note(self, reason: str, message: str, *, resource: str = "", level: Level = Level.INFO) -> None:
        """Add an event to the project's timeline."""
        record_event(
            self.project,
            actor=PANEL,
            by_panel=True,
            reason=reason,
            message=message,
            resource=resource,
            level=level,
            unsaved=self.events,
        )

    def remember_applied(self, manifests: Iterable[Object], now: datetime, answers: Iterable[Object] = ()) -> None:
        """Record manifests as they are sent, to find drift later, with keyed digests in place of a Secret's values.
        `answers`: the API server's answers in the same order, for the uids of the objects and for what admission made
        of them."""
        for manifest, answer in zip_longest(manifests, answers):
            concealed = conceal(manifest, settings.SECRET_KEY)
            self.applied.append(
                LastAppliedManifest(
                    project=self.project,
                    kind=text(manifest.get("kind")),
                    namespace=text(metadata_of(manifest).get("namespace")),
                    name=text(metadata_of(manifest).get("name")),
                    object_uid=uid_of(answer),
                    manifest=concealed,
                    admitted=_list_admitted(concealed, answer),
                    applied_at=now,
                )
            )

    def remember_answer(self, applied: LastAppliedManifest, answer: Object) -> None:
        """Record the answer to a manifest that was applied again, if it is another object or other than before."""
        admitted = _list_admitted(applied.manifest, answer)
        if (applied.object_uid, applied.admitted) == (uid_of(answer), admitted):
            return
        again = LastAppliedManifest(
            project=self.project,
            kind=applied.kind,
            namespace=applied.namespace,
            name=applied.name,
            object_uid=uid_of(answer),
            manifest=applied.manifest,
            admitted=admitted,
            applied_at=applied.applied_at,
        )
        self.applied.append(again)

    @property
    def is_stored(self) -> bool:
        return not (self.unsaved or self.added or self.events or self.applied)

    def store(self, **values: object) -> None:
        """Write all changes, and `values` to the project's row, in one transaction under the lease.

        A pass stores before each effect, so that every name in the cluster is in a row, and when it ends. Raises
        LeaseLostError. After an error, what could not be written is not tried again.
        """
        with transaction.atomic():
            self.lease.write(**values)
            self.write_changes()

    def store_last(self, next_pass_at: datetime | None, **values: object) -> bool:
        """Write as `store` does and release the lease; return whether it was released (see `Lease.write_last`)."""
        with transaction.atomic():
            is_released = self.lease.write_last(next_pass_at, **values)
            self.write_changes()
        return is_released

    def write_changes(self) -> None:
        """Write all changes but the project's own. Call it in a transaction that has written under the lease."""
        unsaved, added, events, applied = self.unsaved, self.added, self.events, self.applied
        self.unsaved, self.added, self.events, self.applied = {}, [], [], []
        for row in (self.database, self.sandbox):
            if row is not None and (names := unsaved.get(type(row))):
                row.save(update_fields=names)
        for row in added:
            if isinstance(row, DatabaseCluster):
                self._discard_other_clusters(row)
            row.save(force_insert=True)
        if applied:
            LastAppliedManifest.objects.bulk_create(
                applied,
                update_conflicts=True,
                unique_fields=["namespace", "kind", "name"],
                update_fields=["project", "object_uid", "manifest", "admitted", "applied_at"],
            )
        if events:
            Event.objects.bulk_create(events)

    def _discard_other_clusters(self, row: DatabaseCluster) -> None:
        """Delete the manifests of Clusters that the new row replaces. A created Cluster that was wrongly believed to be
        gone keeps its manifest, so its drift is still found."""
        manifests = LastAppliedManifest.objects.filter(project=self.project, kind="Cluster")
        manifests.exclude(name=row.name if row.origin == Origin.CREATED else "").delete()


def _list_admitted(concealed: Object, answer: Object | None) -> list[list[str]]:
    if answer is None:
        return []
    return list_admitted(concealed, conceal({**answer, "kind": concealed.get("kind")}, settings.SECRET_KEY))


def build_context(lease: Lease) -> PassContext:
    """Return the project's rows as they are under the lease, and an empty snapshot."""
    project = lease.project
    if project.has_variables:
        prefetch_related_objects([project], "variables")
    return PassContext(lease, project, project.database, project.sandbox)
