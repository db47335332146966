"""Rows of settled projects, as passes leave them. Needs Django set up."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import CredentialsSource, DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, Sandbox

_SETTLED_POLL_S = 300.0
_BATCH = 1000


def add_settled(count: int, prefix: str, events: int) -> list[list[str]]:
    """Add `count` running projects with their rows, and spread `events` events over them.

    Return each project's name, uid, Cluster and sandbox.
    """
    now = timezone.now()
    # One ciphertext for all rows: encryption isn't measured.
    password = EncryptedText.of("bench")
    projects = [
        Project(
            name=f"{prefix}{number:05}",
            kubernetes_name=f"{prefix}{number:05}",
            namespace="default",
            desired_state=DesiredState.RUNNING,
            phase=Phase.RUNNING,
            reason=Reason.READY,
            message="Database and sandbox running.",
            wanted_generation=1,
            observed_generation=1,
            requested_at=now - timedelta(minutes=9),
            next_pass_at=now + timedelta(seconds=_SETTLED_POLL_S * (number + 1) / count),
        )
        for number in range(count)
    ]
    with transaction.atomic():
        Project.objects.bulk_create(projects, batch_size=_BATCH)
        DatabaseCluster.objects.bulk_create([_database(row, password) for row in projects], batch_size=_BATCH)
        Sandbox.objects.bulk_create([_sandbox(row) for row in projects], batch_size=_BATCH)
        Event.objects.bulk_create(
            [
                Event(
                    project=projects[number % count],
                    at=now - timedelta(seconds=number % 3600),
                    actor="panel",
                    resource="Cluster",
                    reason="ClusterApplied",
                    message="Applied the Cluster.",
                )
                for number in range(events)
            ],
            batch_size=_BATCH,
        )
    return [
        [row.name, str(row.uid), f"{row.name}-agentruntime-abc123", f"{row.name}-sandbox-abc123"] for row in projects
    ]


def _database(project: Project, password: EncryptedText) -> DatabaseCluster:
    at = project.requested_at
    name = f"{project.name}-agentruntime-abc123"
    return DatabaseCluster(
        project=project,
        name=name,
        namespace="default",
        phase=Phase.RUNNING,
        reason=Reason.READY,
        observed_phase="Running",
        api_version="apps.kubeblocks.io/v1",
        host=f"{name}-postgresql-postgresql.default.svc",
        port=5432,
        database="postgres",
        username="postgres",
        password=password,
        requested_at=at,
        applied_at=at,
        running_at=at,
        captured_at=at,
        verified_at=at,
        proved_at=at,
    )


def _sandbox(project: Project) -> Sandbox:
    at = project.requested_at
    return Sandbox(
        project=project,
        name=f"{project.name}-sandbox-abc123",
        namespace="default",
        phase=Phase.RUNNING,
        reason=Reason.SANDBOX_READY,
        credentials=CredentialsSource.CAPTURED,
        environment_digest="bench",
        urls={"app": "http://127.0.0.1:3000/"},
        requested_at=at,
        applied_at=at,
        ready_at=at,
    )
