"""Passes while the API server fails: the reason is stored once, and the project recovers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.provisioning import add_project, request_provision
from provisioning import heartbeats, tasks
from provisioning.inventory.adoption import list_clusters
from provisioning.kube.client import connect
from provisioning.kube.kinds import Kind
from provisioning.reconcile.loop import run_pass
from tests.support.cluster_objects import make_namespace, start
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def test_temporary_api_error_is_reported_and_recovers(cluster, unique_name):
    fault = cluster.faults.add("status", status=503, resource="clusters", user="admin")
    project = follow(start(unique_name), lambda p: p.failures > 0)
    assert (project.phase, project.reason) == (Phase.WAITING, Reason.API_SERVER_FAILED)
    assert "503" in project.message
    assert project.next_pass_at > timezone.now() - timedelta(seconds=1)
    cluster.faults.remove(fault.id)
    assert follow(project, is_running).failures == 0


def test_delayed_pass_sends_heartbeats(cluster, unique_name):
    """The watchdog takes a queue without any for one that hangs, and would start it again, passes and all."""
    project = start(unique_name)
    cluster.faults.add("delay", seconds=1.2, verb="patch", resource="clusters", user="admin", count=1)
    begun_at = timezone.now()
    tasks.reconcile_project(project.pk)
    assert heartbeats.last_beat() > begun_at + timedelta(seconds=1.2)


def test_lost_answer_creates_no_second_cluster(cluster, unique_name):
    cluster.faults.add("reset-after", verb="patch", resource="clusters", user="admin", count=2)
    project = follow(start(unique_name), is_running)
    assert len([c for c in list_clusters("default") if c.name.startswith(f"{unique_name}-")]) == 1
    assert DatabaseCluster.objects.filter(project=project).count() == 1


def test_missing_namespace_is_reported_once_and_recovers(cluster, unique_name, settings):
    namespace = f"later-{unique_name}"
    settings.ALLOWED_NAMESPACES = [namespace]
    project = add_project(unique_name, actor="tester", namespace=namespace)
    request_provision(project, actor="tester")
    for _ in range(4):
        run_pass(project.pk)
    project.refresh_from_db()
    assert (project.phase, project.reason) == (Phase.WAITING, Reason.NAMESPACE_MISSING)
    assert "Create it" in project.message
    assert project.failures == 4
    events = list(project.events.values_list("reason", flat=True))
    assert events.count(Reason.NAMESPACE_MISSING) == 1
    make_namespace(namespace)
    follow(project, is_running)


def test_full_quota_is_no_missing_permission(cluster, unique_name, settings):
    namespace = f"small-{unique_name}"
    settings.ALLOWED_NAMESPACES = [namespace]
    make_namespace(namespace)
    quota = Kind("v1", "resourcequotas", "ResourceQuota")
    body = {"metadata": {"name": "small"}, "spec": {"hard": {"count/clusters.apps.kubeblocks.io": "0"}}}
    connect()._request("POST", quota.path(namespace), body={"apiVersion": "v1", "kind": "ResourceQuota", **body})
    project = add_project(unique_name, actor="tester", namespace=namespace)
    request_provision(project, actor="tester")
    project = follow(project, lambda p: p.reason == Reason.QUOTA_EXCEEDED)
    assert "exceeded quota: small" in project.message
    assert "permission" not in project.message
    connect().delete(quota, namespace, "small")
    follow(project, is_running)


def test_namespace_that_is_being_deleted_is_named(cluster, unique_name, settings):
    namespace = f"going-{unique_name}"
    settings.ALLOWED_NAMESPACES = [namespace]
    make_namespace(namespace)
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/wait"]}}
    config_maps = Kind("v1", "configmaps", "ConfigMap")
    connect()._request("POST", config_maps.path(namespace), body=held)
    connect()._request("DELETE", f"/api/v1/namespaces/{namespace}")
    project = add_project(unique_name, actor="tester", namespace=namespace)
    request_provision(project, actor="tester")
    project = follow(project, lambda p: p.failures > 0)
    assert project.reason == Reason.NAMESPACE_TERMINATING
    assert "permission" not in project.message
    connect().merge(config_maps, namespace, "held", {"metadata": {"finalizers": None}})


def test_failure_after_the_deadline_is_reported_once(cluster, unique_name, settings):
    settings.ALLOWED_NAMESPACES = [f"never-{unique_name}"]
    project = add_project(unique_name, actor="tester", namespace=f"never-{unique_name}")
    request_provision(project, actor="tester")
    Project.objects.filter(pk=project.pk).update(requested_at=timezone.now() - timedelta(hours=1))
    for _ in range(4):
        run_pass(project.pk)
    project.refresh_from_db()
    assert (project.phase, project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "namespace" in project.message
    assert project.events.filter(reason__in=[Reason.DEADLINE_EXCEEDED, Reason.NAMESPACE_MISSING]).count() == 1
