"""Changes to objects on a test's cluster from outside the panel, and projects on it."""

import time
from typing import Any

from projects.domain.states import Phase
from projects.models import Project
from projects.services.provisioning import add_project, request_provision
from provisioning.kube.client import connect
from provisioning.kube.kinds import Kind, cluster_kind
from provisioning.objects import manifests

CLUSTERS = cluster_kind("apps.kubeblocks.io/v1")


def start(name: str) -> Project:
    project = add_project(name, actor="tester")
    request_provision(project, actor="tester")
    return Project.objects.get(pk=project.pk)


def is_new(project: Project) -> bool:
    return project.phase == Phase.NEW


def is_deleted(project: Project) -> bool:
    return project.phase == Phase.DELETED


def apply_theirs(name: str, **labels: str) -> None:
    spec = manifests.DatabaseSpec("16.4.0", "postgresql-14.8.0", "100m", "128Mi", "1Gi")
    owner = manifests.Owner("x", Project().uid)
    manifest = manifests.build_cluster("apps.kubeblocks.io/v1", name=name, namespace="default", owner=owner, spec=spec)
    manifest["metadata"]["labels"] = labels
    connect().apply(manifest, "clusters")


def change(kind: Kind, name: str, patch: dict[str, Any]) -> None:
    """Change an object from outside the panel."""
    connect()._request(
        "PATCH",
        kind.path("default", name),
        query={"fieldManager": "kubectl-edit"},
        body=patch,
        content_type="application/merge-patch+json",
    )


def delete_cluster(name: str) -> None:
    """Delete a Cluster, and wait until it is gone."""
    client = connect()
    client.delete(CLUSTERS, "default", name)
    while client.get_or_none(CLUSTERS, "default", name):
        time.sleep(0.05)


def make_namespace(name: str) -> None:
    namespaces = Kind("v1", "namespaces", "Namespace")
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    connect()._request("POST", namespaces.path(None), body=body)
