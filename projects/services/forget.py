"""The request to forget a project: to delete it without its objects, and to list what it leaves in the cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.request_policy import Request
from projects.domain.states import DesiredState, Level, Origin, Phase, Reason
from projects.models import DatabaseCluster, Project, ProjectVariable, Sandbox
from projects.services.events import record_event
from projects.services.intent import project_request
from projects.services.outcome import Outcome
from projects.services.resources import retire_resources

# The names that KubeBlocks derives from a Cluster's name, in its releases 0.8 to 1.1.
_COMPONENT = "postgresql"
_LEGACY_API = "apps.kubeblocks.io/v1alpha1"


@project_request(Request.FORGET)
def request_forget(project: Project, now: datetime, *, actor: str) -> Outcome:
    """Delete a project without touching the cluster: its row becomes Deleted and lists what is left behind.

    For objects that can't be reached or can't be deleted. No pass looks at the project again.
    """
    left = explain_left(project)
    retire_resources(project, now, Reason.FORGOTTEN)
    ProjectVariable.objects.filter(project=project).update(value=EncryptedText())
    # Without its lease, a pass that is under way can write nothing more.
    Project.objects.filter(pk=project.pk).update(
        desired_state=DesiredState.DELETED,
        phase=Phase.DELETED,
        reason=Reason.FORGOTTEN,
        message=f"Forgotten by {actor}. {left}",
        wanted_generation=F("wanted_generation") + 1,
        observed_generation=F("wanted_generation") + 1,
        deletion_deadline=None,
        failures=0,
        next_pass_at=None,
        lease_token=None,
        lease_until=None,
    )
    message = f"{actor} forgot the project. Nothing was deleted in the cluster. {left}"
    record_event(project, actor=actor, reason=Reason.FORGOTTEN, message=message, level=Level.WARNING, at=now)
    return Outcome(True, f"{project.name} is forgotten. {left}")


@dataclass(frozen=True, slots=True)
class LeftObject:
    """An object in the cluster that belongs to a project, as its rows say."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def explain_left(project: Project) -> str:
    """Return, in sentences, what forgetting the project leaves in the cluster: by its rows, and by the last status of a
    late deletion, which can name objects that no row has anymore."""
    left = ", ".join(str(item) for item in list_left(project))
    message = f"Left behind, as last known: {left}." if left else "As far as is known, it had nothing in the cluster."
    is_late = project.is_being_removed and project.phase == Phase.FAILED
    seen = project.message.split(". ")[0].rstrip(".") if is_late else ""
    return f"{message} Last status: {seen}." if seen else message


def list_left(project: Project) -> list[LeftObject]:
    """Return the objects that the project has in the cluster, from its rows alone."""
    databases = project.databases.filter(retired_at=None)
    sandboxes = project.sandboxes.filter(retired_at=None)
    ingresses = project.applied.filter(kind="Ingress").order_by("namespace", "name")
    return [
        *(item for database in databases for item in _objects_of_database(database)),
        *(item for sandbox in sandboxes for item in _objects_of_sandbox(sandbox)),
        *(LeftObject("Ingress", applied.namespace, applied.name) for applied in ingresses),
    ]


def _objects_of_database(database: DatabaseCluster) -> Iterator[LeftObject]:
    name, namespace = database.name, database.namespace
    yield LeftObject("Cluster", namespace, name)
    if database.origin == Origin.ADOPTED:
        return  # its Secrets and volumes existed before the project
    is_legacy = database.api_version == _LEGACY_API
    secret = f"{name}-conn-credential" if is_legacy else f"{name}-{_COMPONENT}-account-postgres"
    yield LeftObject("Secret", namespace, secret)
    yield LeftObject("PersistentVolumeClaim", namespace, f"data-{name}-{_COMPONENT}-0")


def _objects_of_sandbox(sandbox: Sandbox) -> Iterator[LeftObject]:
    name, namespace = sandbox.name, sandbox.namespace
    yield LeftObject("StatefulSet", namespace, name)
    yield LeftObject("Service", namespace, name)
    yield LeftObject("Secret", namespace, f"{name}-env")
    yield LeftObject("PersistentVolumeClaim", namespace, f"home-{name}-0")
    for certificate in sandbox.certificates:
        yield LeftObject("Secret", namespace, certificate)
