"""What a pass works with: the rows as read under its lease, and the world that they are about."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from projects.domain.states import Level
from projects.models import DatabaseCluster, Event, LastAppliedManifest, Project, Sandbox
from projects.services.events import record_event
from provisioning.objects import manifests
from provisioning.reconcile.lease import Lease
from provisioning.reconcile.observe import World

PANEL = "panel"


@dataclass
class PassContext:
    """What an action works with: the rows as read under the lease, and the world."""

    lease: Lease
    world: World
    project: Project
    database: DatabaseCluster | None
    sandbox: Sandbox | None
    # What is known and not stored yet: fields of the rows above, new rows, events, objects as they were applied.
    unsaved: dict[type[DatabaseCluster | Sandbox], set[str]] = field(default_factory=dict)
    added: list[Sandbox] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    applied: list[LastAppliedManifest] = field(default_factory=list)
    # Of a database that is replaced: the new one is not waited for any longer.
    inherited_deadline: datetime | None = None

    @property
    def owner(self) -> manifests.Owner:
        return manifests.Owner(self.project.kubernetes_name, self.project.uid)

    @property
    def live_database(self) -> DatabaseCluster:
        """The project's database row, where there must be one: raises ValueError else."""
        if self.database is None:
            raise ValueError("The project has no database row.")
        return self.database

    def set(self, row: DatabaseCluster | Sandbox, **values: object) -> None:
        """Put values on one of the rows, and remember those that differ from what is stored."""
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
                self.unsaved.setdefault(type(row), set()).add(name)

    def note(self, reason: str, message: str, *, resource: str = "", level: Level = Level.INFO) -> None:
        """Add a line to the project's timeline, stored with what is stored next."""
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

    @property
    def is_stored(self) -> bool:
        return not (self.unsaved or self.added or self.events or self.applied)

    def store(self, **values: object) -> None:
        """Write everything that is known, and `values` to the project's row, in one transaction under the lease.

        A pass stores before each effect, so that no name is used that is not stored, and in its end. Raises
        LeaseLostError; whatever is raised, what could not be written is not tried again.
        """
        with transaction.atomic():
            self.lease.write(**values)
            self.write_rest()

    def store_last(self, next_pass_at: datetime | None, **values: object) -> bool:
        """Write as `store` does, and give the lease back; return whether it was (see `Lease.write_last`)."""
        with transaction.atomic():
            is_released = self.lease.write_last(next_pass_at, **values)
            self.write_rest()
        return is_released

    def write_rest(self) -> None:
        """Write what is known but for the project's row. Call it inside a transaction that has written under the
        lease."""
        unsaved, added, events, applied = self.unsaved, self.added, self.events, self.applied
        self.unsaved, self.added, self.events, self.applied = {}, [], [], []
        for row in (self.database, self.sandbox):
            if row is not None and (names := unsaved.get(type(row))):
                row.save(update_fields=names)
        for row in added:
            row.save(force_insert=True)
        if applied:
            LastAppliedManifest.objects.bulk_create(
                applied,
                update_conflicts=True,
                unique_fields=["namespace", "kind", "name"],
                update_fields=["project", "manifest", "applied_at"],
            )
        if events:
            Event.objects.bulk_create(events)
