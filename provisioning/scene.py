"""What a pass works with: the rows as read under its lease, and the world that they are about."""

from dataclasses import dataclass, field
from datetime import datetime

from projects.models import DatabaseCluster, Project, Sandbox
from projects.services import record_event
from projects.states import Level
from provisioning import manifests
from provisioning.lease import Lease
from provisioning.observing import World

PANEL = "panel"


@dataclass
class Scene:
    """What an action works with: the rows as read under the lease, and the world."""

    lease: Lease
    world: World
    project: Project
    database: DatabaseCluster | None
    sandbox: Sandbox | None
    # Fields of the rows above that differ from what is stored.
    unsaved: dict[DatabaseCluster | Sandbox, set[str]] = field(default_factory=dict)
    # Of a database that is replaced: the new one is not waited for any longer.
    inherited_deadline: datetime | None = None

    @property
    def owner(self) -> manifests.Owner:
        return manifests.Owner(self.project.kubernetes_name, self.project.uid)

    def note(self, reason: str, message: str, *, resource: str = "", level: Level = Level.INFO) -> None:
        record_event(
            self.project, actor=PANEL, by_panel=True, reason=reason, message=message, resource=resource, level=level
        )
