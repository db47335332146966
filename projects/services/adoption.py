"""Adoption as people ask for it: which projects may take a Cluster over, and the request that stores the intent."""

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from projects.domain import request_policy
from projects.domain.states import DesiredState, Origin, Phase, Reason
from projects.models import DatabaseCluster, FoundCluster, Project
from projects.services.events import record_event
from projects.services.intent import save_intent
from projects.services.outcome import Outcome
from projects.services.provisioning import add_project, request_provision


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A Cluster that was seen: enough to store the wish to adopt it. `claimed_by`: the uid of the project whose label
    it has; `obstacle`: why nobody can adopt it, in a sentence."""

    namespace: str
    name: str
    uid: str
    api_version: str
    claimed_by: str = ""
    obstacle: str = ""

    @classmethod
    def of(cls, found: FoundCluster) -> "Adoptable":
        return cls(found.namespace, found.name, found.uid, found.api_version, found.claimed_by, found.obstacle)


def may_adopt(cluster: Adoptable) -> models.QuerySet[Project]:
    """Return the projects that may adopt the Cluster: in its namespace, with no database made or taken over."""
    projects = Project.objects.present().filter(namespace=cluster.namespace).exclude(desired_state=DesiredState.DELETED)
    if cluster.claimed_by:
        projects = projects.filter(uid=cluster.claimed_by)
    has_database = DatabaseCluster.objects.filter(project=models.OuterRef("pk"), retired_at=None).exclude(
        applied_at=None, origin=Origin.ADOPTED
    )
    return projects.exclude(models.Exists(has_database))


def request_adopt(project: Project, cluster: Adoptable, *, actor: str) -> Outcome:
    """Make a Cluster that exists the project's database, and ask for its sandbox; the pass labels it as the project's.

    Refused, in a sentence, where the Cluster is another project's or can't be adopted, or the project has a database.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            current = Project.objects.select_for_update().get(pk=project.pk)
            live = current.databases.filter(retired_at=None).first()
            if live is not None and (live.namespace, live.name) == (cluster.namespace, cluster.name):
                return request_provision(current, actor=actor, may_adopt=True)
            refusal = _explain_refusal(current, live, cluster)
            if refusal:
                return Outcome(False, refusal)
            if live is not None:
                # Nothing was found under this name.
                current.databases.filter(pk=live.pk).update(retired_at=now, phase=Phase.DELETED)
            # Of a Cluster that was replaced: this one is not of the panel's making.
            current.applied.filter(kind="Cluster").delete()
            DatabaseCluster.objects.create(
                project=current,
                name=cluster.name,
                namespace=cluster.namespace,
                origin=Origin.ADOPTED,
                object_uid=cluster.uid,
                api_version=cluster.api_version,
                phase=Phase.WAITING,
                reason=Reason.REQUESTED,
                message=f"The cluster {cluster.name} is to be adopted.",
                requested_at=now,
            )
            FoundCluster.objects.filter(namespace=cluster.namespace, name=cluster.name).delete()
            record_event(
                current,
                actor=actor,
                reason="AdoptRequested",
                message=f"{actor} asked to adopt the cluster {cluster.name}.",
                resource=f"Cluster {cluster.name}"[:120],
            )
            # A new intent: a pass that is under way for an earlier one writes nothing more.
            message = f"The adoption of {cluster.name} is in the queue."
            save_intent(current, DesiredState.RUNNING, Reason.REQUESTED, message, now, requested_at=now)
    except IntegrityError:
        return Outcome(False, _explain_taken(cluster))
    return Outcome(True, f"{project.name} adopts {cluster.name}: put in the queue.")


def request_adopt_for_new(name: str, cluster: Adoptable, *, actor: str, **fields: object) -> tuple[Project, Outcome]:
    """Add a project under `name` in the Cluster's namespace, and adopt the Cluster for it: both or neither.

    Raises ValidationError in sentences, also where the adoption is refused.
    """
    with transaction.atomic():
        project = add_project(name, actor=actor, namespace=cluster.namespace, **fields)
        outcome = request_adopt(project, cluster, actor=actor)
        if not outcome.accepted:
            raise ValidationError(outcome.message)
    return project, outcome


def explain_refusal(project: Project, cluster: Adoptable) -> str:
    """Return why the project can't adopt the Cluster, as the rows are now; "" if it can, or has it already."""
    live = project.databases.filter(retired_at=None).first() if project.pk else None
    if live is not None and (live.namespace, live.name) == (cluster.namespace, cluster.name):
        return ""
    return _explain_refusal(project, live, cluster)


def _explain_refusal(project: Project, live: DatabaseCluster | None, cluster: Adoptable) -> str:
    """Return why the project can't adopt the Cluster; "" if it can."""
    if project.desired_state == DesiredState.DELETED:
        return f"{project.name} is deleted. Adopt the cluster for another project."
    if project.is_cancelling:
        return request_policy.explain_refusal(request_policy.Request.PROVISION, project)
    if cluster.obstacle:
        return cluster.obstacle
    if cluster.claimed_by and cluster.claimed_by != str(project.uid):
        return _explain_taken(cluster)
    if DatabaseCluster.objects.filter(namespace=cluster.namespace, name=cluster.name, retired_at=None).exists():
        return _explain_taken(cluster)
    # One that the panel makes may be there already, unknown to its row: the answer of an apply can get lost.
    if live is not None and (live.applied_at is not None or live.origin == Origin.CREATED):
        return f"{project.name} has the database {live.name} already. Delete the project first."
    if project.namespace != cluster.namespace:
        return (
            f"{project.name} lives in the namespace {project.namespace}, the cluster {cluster.name} in "
            f"{cluster.namespace}. Adopt it for a project in {cluster.namespace}."
        )
    return ""


def _explain_taken(cluster: Adoptable) -> str:
    return f"The cluster {cluster.name} is another project's already."
