"""Finds existing Clusters, and requests their adoption."""

import re

from projects.domain.naming import InvalidNameError, kubernetes_name
from projects.domain.request_policy import Request, find_refusal
from projects.models import Project
from projects.services import adoption
from projects.services.adoption import Adoptable
from projects.services.outcome import Outcome
from provisioning.identity import connect_to_own_cluster
from provisioning.inventory.clusters import explain_obstacle, find_claimant, read_facts
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import cluster_kind
from provisioning.objects.names import ExistingCluster, explain_not_found, name_some, read_existing_cluster


def list_clusters(namespace: str) -> list[ExistingCluster]:
    """Return the KubeBlocks Clusters of a namespace. Raises KubeError."""
    kube = connect_to_own_cluster()
    kind = cluster_kind(kube.cluster_api_version())
    return [read_existing_cluster(item) for item in kube.list_objects(kind, namespace)]


def explain_unknown(name: str, namespace: str) -> str:
    """Return the message for a name that no project has, with the Clusters that exist."""
    try:
        label = kubernetes_name(name)
    except InvalidNameError:
        label = "none"
    try:
        available = [cluster.name for cluster in list_clusters(namespace)]
    except KubeError as error:
        return f"There is no project {name}. The existing clusters can't be listed: {error}"
    return explain_not_found(name, label, available)


def request_adopt(project: Project, cluster_name: str, *, actor: str) -> Outcome:
    """Look up the Cluster and request its adoption. Refused if it doesn't exist, and as described in
    `projects.services.adoption.request_adopt`. Raises KubeError."""
    found = find_adoptable(project, cluster_name)
    return found if isinstance(found, Outcome) else adoption.request_adopt(project, found, actor=actor)


def foresee_adoption(project: Project, cluster_name: str) -> Adoptable | Outcome:
    """Return the Cluster if the project may adopt it, else the refusal. Requests nothing. Raises KubeError."""
    found = find_adoptable(project, cluster_name)
    if isinstance(found, Outcome):
        return found
    refusal = adoption.find_adoption_refusal(project, found)
    return Outcome.refused(refusal) if refusal else found


def find_adoptable(project: Project, cluster_name: str) -> Adoptable | Outcome:
    """Return the Cluster as observed, or the refusal. Raises KubeError."""
    refusal = find_refusal(Request.ADOPT, project)
    if refusal:
        return Outcome.refused(refusal)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", cluster_name):
        return Outcome(
            False,
            "A cluster's name has at most 63 lower-case letters, digits, hyphens and dots. Use the name of an existing "
            "cluster.",
        )
    kube = connect_to_own_cluster()
    kind = cluster_kind(kube.cluster_api_version())
    cluster = kube.get_or_none(kind, project.namespace, cluster_name)
    if cluster is None:
        names = name_some(item.name for item in list_clusters(project.namespace))
        return Outcome(
            False, f"There is no cluster {cluster_name} in namespace {project.namespace}. Available clusters: {names}"
        )
    facts = read_facts(cluster)
    claimed_by, obstacle = facts.owner or "", ""
    if claimed_by != str(project.uid) or facts.is_deleting:
        obstacle = explain_obstacle(facts, find_claimant(facts))
    return Adoptable(project.namespace, cluster_name, facts.uid, kind.api_version, claimed_by, obstacle)
