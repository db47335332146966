"""Clusters that exist already: list them, find a project's, take one over."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.models import DatabaseCluster, Project
from projects.naming import InvalidNameError, kubernetes_name
from projects.services import Outcome, record_event, request_provision
from projects.states import DesiredState, Origin, Phase, Reason
from provisioning import kube as k
from provisioning.acting import existing_cluster
from provisioning.names import ExistingCluster, explain_not_found, project_id_of
from provisioning.readiness import judge_cluster, labels_of, metadata_of


def list_clusters(namespace: str) -> list[ExistingCluster]:
    """Return the KubeBlocks Clusters of a namespace. Raises KubeError."""
    kube = k.connect()
    kind = k.cluster_kind(kube.cluster_api_version())
    return [existing_cluster(item) for item in kube.list_objects(kind, namespace)]


def explain_unknown(name: str, namespace: str) -> str:
    """Return the sentence for a name that no project has, with the clusters that there are."""
    try:
        label = kubernetes_name(name)
    except InvalidNameError:
        label = "none"
    try:
        available = [cluster.name for cluster in list_clusters(namespace)]
    except k.KubeError as error:
        return f"There is no project {name}. Which clusters exist can't be told: {error}"
    return explain_not_found(name, label, available)


def request_adopt(project: Project, cluster_name: str, *, actor: str) -> Outcome:
    """Make an existing Cluster the project's database, and ask for its sandbox. Refused, in a sentence, where the
    Cluster does not exist or is another project's, or the project has a database. Raises KubeError."""
    if project.desired_state == DesiredState.DELETED:
        return Outcome(False, f"{project.name} is deleted. Adopt the cluster for another project.")
    kube = k.connect()
    kind = k.cluster_kind(kube.cluster_api_version())
    cluster = kube.get_or_none(kind, project.namespace, cluster_name)
    if cluster is None:
        names = ", ".join(sorted(item.name for item in list_clusters(project.namespace))) or "none"
        return Outcome(
            False, f"There is no cluster {cluster_name} in namespace {project.namespace}. Available clusters: {names}"
        )
    if metadata_of(cluster).get("deletionTimestamp"):
        return Outcome(False, f"The cluster {cluster_name} is being deleted; it can't be adopted any more.")
    if project_id_of(labels_of(cluster)) not in (None, str(project.uid)):
        return Outcome(False, f"The cluster {cluster_name} is another project's already.")
    now = timezone.now()
    try:
        with transaction.atomic():
            live = project.databases.filter(retired_at=None).first()
            if live is not None and live.name == cluster_name:
                return request_provision(project, actor=actor)
            if live is not None and live.applied_at is not None:
                return Outcome(False, f"{project.name} has the database {live.name} already. Delete the project first.")
            if live is not None:
                # Nothing was made under this name yet.
                project.databases.filter(pk=live.pk).update(retired_at=now, phase=Phase.DELETED)
            DatabaseCluster.objects.create(
                project=project,
                name=cluster_name,
                namespace=project.namespace,
                origin=Origin.ADOPTED,
                object_uid=judge_cluster(cluster).uid,
                api_version=kind.api_version,
                phase=Phase.WAITING,
                reason=Reason.REQUESTED,
                requested_at=now,
            )
            record_event(
                project,
                actor=actor,
                reason="AdoptRequested",
                message=f"{actor} asked to adopt the cluster {cluster_name}.",
                resource=f"Cluster {cluster_name}",
            )
            outcome = request_provision(project, actor=actor)
    except IntegrityError:
        return Outcome(False, f"The cluster {cluster_name} is another project's already.")
    return Outcome(outcome.accepted, f"{project.name} adopts {cluster_name}: put in the queue.")
