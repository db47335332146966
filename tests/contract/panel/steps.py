"""Steps that the tests of the panel's flows share."""

from typing import cast

from projects.models import Project
from projects.services.provisioning import add_project, request_provision
from provisioning.kube.client import Kube
from provisioning.kube.kinds import cluster_kind
from provisioning.objects.manifests import CLUSTER_V1
from tests.support.standin_api import cluster_spec

CLUSTERS = cluster_kind(CLUSTER_V1)
# The client for changes that a test makes outside the panel. The fixture `cluster` sets it.
administrator = cast(Kube, None)


def start(name, *, may_adopt=False, **fields):
    project = add_project(name, actor="tester", **fields)
    assert request_provision(project, actor="tester", may_adopt=may_adopt).accepted
    return Project.objects.get(pk=project.pk)


def apply_foreign_cluster(name, labels=None):
    """Create a Cluster that does not belong to the panel."""
    manifest = {
        "apiVersion": CLUSTER_V1,
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": cluster_spec(component={"resources": {"limits": {"cpu": "500m", "memory": "512Mi"}}}),
    }
    return administrator.apply(manifest, "clusters")
