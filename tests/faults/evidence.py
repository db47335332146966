"""The result of a run as plain data for the invariants: rows, tasks, objects and all text that was written."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from projects.domain.states import Phase
from projects.models import DatabaseCluster, Event, LastAppliedManifest, Project, ProjectVariable, Sandbox
from projects.services.queue import PASS_TASK
from provisioning.decisions.types import Verification
from provisioning.reconcile.verify import verify_connection

Json = Mapping[str, Any]
# Plural names of the kinds that a project has objects of.
PATHS = {
    "clusters": "/apis/apps.kubeblocks.io/v1",
    "statefulsets": "/apis/apps/v1",
    "services": "/api/v1",
    "secrets": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
}


# The one of the two users who may adopt.
MAY_ADOPT = "ann"


@dataclass(frozen=True, slots=True)
class Keepsake:
    """A Cluster that the panel did not create and may not delete. If it belongs to another project (`owner`), the panel
    may not label it either.
    """

    namespace: str
    name: str
    uid: str
    owner: str = ""


@dataclass(slots=True)
class Evidence:
    """Rows with their children, tasks of the queue, objects by plural name, and all text that was written.

    `queued` counts the waiting tasks of each project. `texts` maps a place to its text; `secrets` are passwords that
    may occur in none of them. `strangers` are project ids on objects that another panel labeled, `orphans` the uids of
    objects that a run left without rows.
    """

    now: datetime
    projects: list[Project]
    databases: dict[int, list[DatabaseCluster]]
    sandboxes: dict[int, list[Sandbox]]
    variables: dict[int, list[ProjectVariable]]
    events: dict[int, list[Event]]
    applied: dict[int, list[LastAppliedManifest]]
    queued: Counter[int]
    objects: dict[str, list[Json]]
    texts: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    kept: set[Keepsake] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    # Passwords that were in Secrets, and sandboxes that were ready at some time.
    passwords: set[str] = field(default_factory=set)
    were_ready: set[str] = field(default_factory=set)
    # One waiting, one taken by a worker (dead or alive), one that the sweep sent to replace a lost one.
    most_tasks: int = 3
    # If the panel's database fails, a pass may end with InternalError.
    may_have_internal_errors: bool = False


def gather(list_objects: Callable[[str], Iterable[Json]]) -> Evidence:
    """Read the panel's database, and the cluster through `list_objects` (plural name → objects)."""
    return Evidence(
        now=timezone.now(),
        projects=list(Project.objects.order_by("pk")),
        databases=_by_project(DatabaseCluster.objects.order_by("pk")),
        sandboxes=_by_project(Sandbox.objects.order_by("pk")),
        variables=_by_project(ProjectVariable.objects.order_by("pk")),
        events=_by_project(Event.objects.order_by("pk")),
        applied=_by_project(LastAppliedManifest.objects.order_by("pk")),
        queued=Counter(args[0] for func, args in read_tasks() if func == PASS_TASK),
        objects={plural: list(list_objects(plural)) for plural in PATHS},
    )


def _by_project(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found = defaultdict(list)
    for row in rows:
        found[row.project_id].append(row)
    return dict(found)


def read_tasks() -> list[tuple[str, tuple[Any, ...]]]:
    """Return (function, arguments) of every task in the queue."""
    tasks = (SignedPackage.loads(payload) for payload in OrmQ.objects.values_list("payload", flat=True))
    return [(task["func"], tuple(task["args"])) for task in tasks]


def read_database() -> dict[str, str]:
    """Return the text of every table, as a dump shows it, and of every task, as a worker gets it."""
    texts = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            table = model._meta.db_table
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - Django's own name
            texts[f"the table {table}"] = "\n".join(map(repr, cursor.fetchall()))
    texts["the queue"] = "\n".join(map(repr, read_tasks()))
    # The keys of the encrypted columns are outside the database.
    assert not any(key in text for key in settings.ENCRYPTION_KEYS for text in texts.values())
    return texts


def find_wrong_passwords(project_ids: Iterable[int]) -> list[str]:
    """Return a sentence for each server that refuses the captured password, and for each unfinished rotation."""
    sentences = []
    for row in DatabaseCluster.objects.filter(
        project__in=list(project_ids), retired_at=None, project__phase=Phase.RUNNING
    ):
        if row.connection is None or verify_connection(row.connection)[0] is not Verification.VERIFIED:
            sentences.append(f"{row.name} runs, and its server does not take the captured password.")
        if row.rotation_requested_at is not None or row.rotation_begun_at is not None or row.pending_password:
            sentences.append(f"{row.name} is at rest in the middle of a change of its password.")
    return sentences
