"""A sandbox and a database that are late: their Pods, volume claims and events say why."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from devcluster.controllers.scenarios import NEVER, Scenario
from projects.domain.states import DriftPolicy, Reason
from projects.models import DatabaseCluster, Project, Sandbox
from projects.services.provisioning import add_project, request_provision
from provisioning.kube.client import connect
from provisioning.kube.kinds import EVENT, POD, PVC, RESOURCE_QUOTA, SECRET
from provisioning.objects.manifests import environment_secret_name
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.reconcile.loop import run_pass
from tests.support.cluster_objects import make_namespace, start
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def create(kind, namespace, name, body) -> None:
    manifest = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, **body}
    manifest["metadata"] = {"name": name, "namespace": namespace, **body.get("metadata", {})}
    connect()._request("POST", kind.path(namespace), body=manifest)


def report(namespace: str, kind: str, name: str, reason: str, message: str) -> None:
    """Record an event as a controller does."""
    now = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    body: dict[str, Any] = {
        "involvedObject": {"kind": kind, "namespace": namespace, "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    create(EVENT, namespace, f"{name}.{reason.lower()}", body)


def seen_late(project: Project) -> Project:
    """Return the project after a pass a minute later."""
    earlier = timezone.now() - timedelta(seconds=60)
    Sandbox.objects.filter(project=project).update(applied_at=earlier)
    databases = DatabaseCluster.objects.filter(project=project)
    databases.update(deadline=F("deadline") - timedelta(seconds=60))
    run_pass(project.pk)
    return Project.objects.with_resources().get(pk=project.pk)


def late_until(project: Project, said: str) -> Project:
    """Return the project after a late pass that says this."""

    def is_said(project: Project) -> bool:
        return said in seen_late(project).message

    follow(project, is_said)
    return Project.objects.with_resources().get(pk=project.pk)


def test_sandbox_without_its_secret_is_explained(provisioned):
    Project.objects.filter(pk=provisioned.pk).update(drift_policy=DriftPolicy.REPORT)
    name = provisioned.sandbox.name
    connect().delete(SECRET, "default", environment_secret_name(name))
    connect().delete(POD, "default", f"{name}-0")
    project = late_until(provisioned, "CreateContainerConfigError")
    assert environment_secret_name(name) in project.message


def test_sandbox_without_a_pod_is_explained_by_the_events_of_its_statefulset(cluster, unique_name, settings):
    namespace = f"full-{unique_name}"
    settings.ALLOWED_NAMESPACES = [namespace]
    make_namespace(namespace)
    project = add_project(unique_name, actor="tester", namespace=namespace)
    request_provision(project, actor="tester")
    project = follow(project, is_running)
    name = project.sandbox.name
    create(RESOURCE_QUOTA, namespace, "small", {"spec": {"hard": {"pods": "0"}}})
    connect().delete(POD, namespace, f"{name}-0")
    refused = f'create Pod {name}-0 in StatefulSet {name} failed error: pods "{name}-0" is forbidden: exceeded quota: a'
    report(namespace, "StatefulSet", name, "FailedCreate", refused)
    project = late_until(project, "There is no Pod yet")
    assert "exceeded quota" in project.message
    assert "Raise the quota" in project.message


def test_database_without_a_volume_is_explained(cluster, unique_name):
    cluster.set_scenario(unique_name, Scenario(match=f"{unique_name}-*", running_after_s=NEVER))
    project = follow(start(unique_name), lambda p: p.reason == Reason.CLUSTER_NOT_RUNNING)
    name = project.database.name
    assert "claim" not in project.message
    claim = f"waiting-{name}-postgresql-0"
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    create(PVC, "default", claim, {"metadata": {"labels": {INSTANCE_LABEL: name}}, "spec": spec})
    report("default", "PersistentVolumeClaim", claim, "ProvisioningFailed", 'storageclass "fast" not found')
    project = seen_late(project)
    assert project.reason == Reason.CLUSTER_NOT_RUNNING
    assert f"The volume claim {claim} is not bound (StorageClass fast)." in project.message
    assert 'ProvisioningFailed: storageclass "fast" not found' in project.message


def test_missing_right_to_read_events_fails_no_pass(cluster, unique_name):
    cluster.faults.add("status", status=403, verb="list", resource="events", user="admin")
    cluster.faults.add("status", status=403, verb="list", resource="pods", user="admin")
    cluster.set_scenario(unique_name, Scenario(match=f"{unique_name}-*", running_after_s=NEVER))
    project = follow(start(unique_name), lambda p: p.reason == Reason.CLUSTER_NOT_RUNNING)
    project = seen_late(project)
    assert (project.failures, project.reason) == (0, Reason.CLUSTER_NOT_RUNNING)
