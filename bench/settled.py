"""Rows of projects that run, and the pages over them; needs Django set up."""

import time
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bench.figures import percentile
from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import CredentialsSource, DesiredState, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, Sandbox

_SETTLED_POLL_S = 300.0
_BATCH = 1000
_REPEATS = 30


def add_settled(count: int, prefix: str, events: int) -> list[list[str]]:
    """Add `count` running projects with their rows, and `events` events spread over them."""
    now = timezone.now()
    # One ciphertext for all: encrypting is not what is measured.
    password = EncryptedText.of("bench")
    projects = [
        Project(
            name=f"{prefix}{number:05}",
            kubernetes_name=f"{prefix}{number:05}",
            namespace="default",
            desired_state=DesiredState.RUNNING,
            phase=Phase.RUNNING,
            reason=Reason.READY,
            message="The database is up and the sandbox runs with its credentials.",
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


def measure_pages() -> list[dict[str, Any]]:
    """Ask for each page some times as an administrator; return queries, milliseconds and size."""
    user = get_user_model().objects.create_superuser("bench", password=None)
    client = Client(SERVER_NAME="localhost", headers={"accept-encoding": "gzip"})
    client.force_login(user)
    middle = Project.objects.order_by("pk")[Project.objects.count() // 2]
    changelist = reverse("admin:projects_project_changelist")
    pages: dict[str, tuple[str, dict[str, str]]] = {
        "admin list": (changelist, {}),
        "admin list, last page": (f"{changelist}?p={Project.objects.count() // 25}", {}),
        "admin list, search": (f"{changelist}?q={middle.name}", {}),
        "admin events": (reverse("admin:projects_event_changelist"), {}),
        "list": (reverse("projects:list"), {}),
        "list, search": (f"{reverse('projects:list')}?q={middle.name}", {}),
        "project": (reverse("projects:detail", args=[middle.pk]), {}),
        "status fragment": (reverse("projects:status", args=[middle.pk]), {"hx-request": "true"}),
    }
    return [_measure(client, name, url, headers) for name, (url, headers) in pages.items()]


def _measure(client: Client, name: str, url: str, headers: dict[str, str]) -> dict[str, Any]:
    # The first request compiles templates; nobody meets it twice.
    answer = client.get(url, headers=headers)
    if answer.status_code not in (200, 204):
        raise RuntimeError(f"{url} was answered {answer.status_code}.")
    with CaptureQueriesContext(connection) as queries:
        client.get(url, headers=headers)
    # Counted now: the next request empties Django's log.
    count = len(queries)
    times_ms = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        client.get(url, headers=headers)
        times_ms.append((time.perf_counter() - start) * 1000)
    return {
        "page": name,
        "queries": count,
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "kb": len(client.get(url, headers={**headers, "accept-encoding": "identity"}).content) / 1000,
    }
