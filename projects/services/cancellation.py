"""Ways out of a request: to cancel it before the project has run, and to forget a project whose objects won't go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.request_policy import Request, explain_refusal
from projects.domain.states import DesiredState, Level, Origin, Phase, Reason
from projects.models import DatabaseCluster, LastAppliedManifest, Project, ProjectVariable, Sandbox
from projects.services.events import record_event
from projects.services.intent import save_intent
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_pass

# What KubeBlocks derives from a Cluster's name; facts of its releases 0.8 to 1.1.
_COMPONENT = "postgresql"
_LEGACY_API = "apps.kubeblocks.io/v1alpha1"


def request_cancel(project: Project, *, actor: str) -> Outcome:
    """Take a provisioning back: what it made is deleted, an adopted Cluster released, and the project is New again.

    Refused where the project has run, where nothing was asked for, and where a deletion has begun.
    """
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        refusal = explain_refusal(Request.CANCEL, current)
        if refusal:
            return Outcome(False, refusal)
        if current.is_cancelling:
            enqueue_pass(current.pk, now=now)
            return Outcome(True, f"{current.name} is being cancelled already: {current.message}")
        save_intent(
            current,
            DesiredState.REGISTERED,
            Reason.CANCELLING,
            "The cancellation is in the queue.",
            now,
            phase=Phase.DELETING,
            delete_adopted=False,
            deletion_deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S),
        )
        message = f"{actor} cancelled the provisioning: what it made is taken back."
        record_event(current, actor=actor, reason=Reason.CANCELLING, message=message, level=Level.WARNING, at=now)
    return Outcome(True, f"{current.name}: the cancellation was put in the queue.")


def request_forget(project: Project, *, actor: str) -> Outcome:
    """End a project without touching the cluster: its row becomes Deleted, and lists what it leaves behind.

    For objects that can't be reached or won't go. Nothing is claimed to be gone; no pass looks at the project again.
    """
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        refusal = explain_refusal(Request.FORGET, current)
        if refusal:
            return Outcome(False, refusal)
        left = explain_left(current)
        retire_rows(current, now, Reason.FORGOTTEN)
        ProjectVariable.objects.filter(project=current).update(value=EncryptedText())
        # Without its lease, a pass that is under way writes nothing more and asks for no other.
        Project.objects.filter(pk=current.pk).update(
            desired_state=DesiredState.DELETED,
            phase=Phase.DELETED,
            reason=Reason.FORGOTTEN,
            message=f"{actor} had the panel forget it. {left}",
            wanted_generation=F("wanted_generation") + 1,
            observed_generation=F("wanted_generation") + 1,
            deletion_deadline=None,
            failures=0,
            next_pass_at=None,
            lease_token=None,
            lease_until=None,
        )
        message = f"{actor} had the panel forget the project; the cluster was not touched. {left}"
        record_event(current, actor=actor, reason=Reason.FORGOTTEN, message=message, level=Level.WARNING, at=now)
    return Outcome(True, f"{current.name} is forgotten. {left}")


def retire_rows(project: Project, now: datetime, reason: Reason) -> None:
    """End the project's live rows, and drop every password and what was applied. Call it inside a transaction."""
    for model in (DatabaseCluster, Sandbox):
        model.objects.filter(project=project, retired_at=None).update(
            retired_at=now, phase=Phase.DELETED, reason=reason, message="", deadline=None
        )
    DatabaseCluster.objects.filter(project=project).update(
        password=EncryptedText(), pending_password=EncryptedText(), rotation_requested_at=None
    )
    LastAppliedManifest.objects.filter(project=project).delete()


@dataclass(frozen=True, slots=True)
class LeftObject:
    """An object in the cluster that a project has, as its rows tell."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def explain_left(project: Project) -> str:
    """Return, in sentences, what forgetting the project leaves in the cluster, as last known: by its rows, and what a
    deletion that came to no end has seen last, which may be what no row has any more."""
    left = ", ".join(str(item) for item in list_left(project))
    said = f"Left behind, as last known: {left}." if left else "It had nothing in the cluster, as far as is known."
    is_late = project.is_being_removed and project.phase == Phase.FAILED
    seen = project.message.split(". ")[0].rstrip(".") if is_late else ""
    return f"{said} The last look said: {seen}." if seen else said


def list_left(project: Project) -> list[LeftObject]:
    """Return what the project has in the cluster, by kind, namespace and name, from its rows alone."""
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
        return  # its Secrets and volumes were there before the project
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
