"""The request to adopt an existing Cluster, and which projects can."""

from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from projects.domain.request_policy import Refusal, Request, find_refusal, is_allowed
from projects.domain.states import DesiredState, Origin, Phase, Reason
from projects.models import DatabaseCluster, FoundCluster, Project
from projects.services.intent import RequestEvent, project_request, save_intent
from projects.services.outcome import Outcome
from projects.services.provisioning import add_project, request_provision


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A Cluster that was seen in the cluster. `claimed_by`: the uid of the project whose label it has; `obstacle`: why
    no project can adopt it, in a sentence."""

    namespace: str
    name: str
    uid: str
    api_version: str
    claimed_by: str = ""
    obstacle: str = ""

    @classmethod
    def of(cls, found: FoundCluster) -> "Adoptable":
        return cls(found.namespace, found.name, found.uid, found.api_version, found.claimed_by, found.obstacle)

    def is_same_as(self, database: DatabaseCluster) -> bool:
        return (database.namespace, database.name) == (self.namespace, self.name)


def projects_for_adoption(cluster: Adoptable) -> models.QuerySet[Project]:
    """Return the projects that can adopt the Cluster: those in its namespace that accept the request and have no
    database yet."""
    projects = Project.objects.present().filter(namespace=cluster.namespace)
    if cluster.claimed_by:
        projects = projects.filter(uid=cluster.claimed_by)
    has_database = DatabaseCluster.objects.filter(project=models.OuterRef("pk"), retired_at=None).exclude(
        applied_at=None, origin=Origin.ADOPTED
    )
    # Stages are derived in Python only, so the rows are asked one by one.
    accepting = [row.pk for row in projects.exclude(models.Exists(has_database)) if is_allowed(Request.ADOPT, row)]
    return Project.objects.filter(pk__in=accepting)


def request_adopt(project: Project, cluster: Adoptable, *, actor: str) -> Outcome:
    """Request that an existing Cluster becomes the project's database, and its sandbox; the pass labels the Cluster.

    Refused if the Cluster belongs to another project or can't be adopted, or the project has another database.
    """
    try:
        return _request_adopt(project, cluster, actor=actor)
    except IntegrityError:
        return Outcome.refused(_taken(cluster))


@project_request(Request.ADOPT)
def _request_adopt(project: Project, now: datetime, cluster: Adoptable, *, actor: str) -> Outcome:
    live = project.databases.filter(retired_at=None).first()
    if live is not None and cluster.is_same_as(live):
        return request_provision(project, actor=actor, may_adopt=True)
    refusal = _find_refusal(project, live, cluster)
    if refusal:
        return Outcome.refused(refusal)
    if live is not None:
        # Nothing was found under this name.
        project.databases.filter(pk=live.pk).update(retired_at=now, phase=Phase.DELETED)
    # What was applied of the Cluster before: the panel did not create this one.
    project.applied.filter(kind="Cluster").delete()
    DatabaseCluster.objects.create(
        project=project,
        name=cluster.name,
        namespace=cluster.namespace,
        origin=Origin.ADOPTED,
        object_uid=cluster.uid,
        api_version=cluster.api_version,
        phase=Phase.WAITING,
        reason=Reason.REQUESTED,
        message=f"The cluster {cluster.name} is being adopted.",
        requested_at=now,
    )
    FoundCluster.objects.filter(namespace=cluster.namespace, name=cluster.name).delete()
    save_intent(
        project,
        DesiredState.RUNNING,
        Reason.REQUESTED,
        now,
        actor=actor,
        event=RequestEvent(
            "AdoptRequested",
            f"{actor} requested the adoption of the cluster {cluster.name}.",
            resource=f"Cluster {cluster.name}",
        ),
        requested_at=now,
    )
    return Outcome(True, f"{project.name}: adoption of {cluster.name} started.")


def request_adopt_for_new(name: str, cluster: Adoptable, *, actor: str, **fields: object) -> tuple[Project, Outcome]:
    """Add a project in the Cluster's namespace, and request the adoption of the Cluster for it: both or neither.

    Raises ValidationError with messages for people, also if the adoption is refused.
    """
    with transaction.atomic():
        project = add_project(name, actor=actor, namespace=cluster.namespace, **fields)
        outcome = request_adopt(project, cluster, actor=actor)
        if not outcome.accepted:
            raise ValidationError(outcome.message)
    return project, outcome


def find_adoption_refusal(project: Project, cluster: Adoptable) -> Refusal | None:
    """Return why the project can't adopt the Cluster, as the rows are now; None if it can, or already has."""
    refusal = find_refusal(Request.ADOPT, project)
    live = project.databases.filter(retired_at=None).first() if project.pk else None
    if refusal or (live is not None and cluster.is_same_as(live)):
        return refusal
    return _find_refusal(project, live, cluster)


def _find_refusal(project: Project, live: DatabaseCluster | None, cluster: Adoptable) -> Refusal | None:
    """Return why the rows refuse the adoption. `live`: the database that the project has, another one."""
    if cluster.obstacle:
        return Refusal("NotAdoptable", cluster.obstacle)
    if cluster.claimed_by and cluster.claimed_by != str(project.uid):
        return _taken(cluster)
    if DatabaseCluster.objects.filter(namespace=cluster.namespace, name=cluster.name, retired_at=None).exists():
        return _taken(cluster)
    # A Cluster that the panel creates may exist before its row says so: the answer to an apply can get lost.
    if live is not None and (live.applied_at is not None or live.origin == Origin.CREATED):
        return Refusal("HasDatabase", f"{project.name} already has the database {live.name}. Delete the project first.")
    if project.namespace != cluster.namespace:
        return Refusal(
            "OtherNamespace",
            f"{project.name} is in the namespace {project.namespace}, and the cluster {cluster.name} in "
            f"{cluster.namespace}. Adopt it for a project in {cluster.namespace}.",
        )
    return None


def _taken(cluster: Adoptable) -> Refusal:
    return Refusal("Taken", f"The cluster {cluster.name} belongs to another project.")
