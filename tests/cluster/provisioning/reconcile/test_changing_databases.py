"""Databases that are stopped, change while they serve, or are kept by their policy; and a missing operator."""

from datetime import timedelta
from typing import Any

import pytest

from devcluster.controllers.scenarios import Scenario
from projects.domain.states import Phase, Reason
from projects.models import Project
from projects.services.adoption import Adoptable, request_adopt
from projects.services.provisioning import add_project, request_delete
from provisioning.decisions import cluster_state
from provisioning.kube.client import connect
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict
from tests.support.cluster_objects import CLUSTERS, apply_theirs, change, is_deleted, start
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def set_stopped(name: str, *, is_stopped: bool) -> None:
    """Stop or start a Cluster as an OpsRequest does."""
    cluster: Any = connect().get_or_none(CLUSTERS, "default", name)
    component = {**cluster["spec"]["componentSpecs"][0], "stop": is_stopped or None}
    change(CLUSTERS, name, {"spec": {"componentSpecs": [component]}})


def says_stopped(project: Project) -> bool:
    return project.reason == Reason.DATABASE_STOPPED


def test_stopped_database_is_said_to_be_stopped_and_recovers(provisioned):
    name = provisioned.database.name
    set_stopped(name, is_stopped=True)
    project = follow(provisioned, says_stopped)
    assert project.phase == Phase.FAILED
    assert "last written by kubectl-edit" in project.message
    assert f"kbcli cluster start {name} -n default" in project.message
    assert project.events.filter(reason=Reason.DATABASE_STOPPED).count() == 1
    set_stopped(name, is_stopped=False)
    follow(project, is_running)


def test_stopped_cluster_is_said_to_be_stopped_at_its_adoption(cluster, unique_name):
    name = f"theirs-{unique_name}"
    apply_theirs(name)
    set_stopped(name, is_stopped=True)
    project = add_project(unique_name, actor="tester")
    uid = connect().get_or_none(CLUSTERS, "default", name)["metadata"]["uid"]
    assert request_adopt(project, Adoptable("default", name, uid, CLUSTERS.api_version), actor="tester").accepted
    project = follow(project, says_stopped)
    assert "not ready within" not in project.message
    set_stopped(name, is_stopped=False)
    follow(project, is_running)


def test_database_that_serves_while_it_changes_stays_running(cluster, provisioned):
    cluster.set_scenario("changing", Scenario(match=provisioned.database.name, stuck="Updating"))
    project = follow(provisioned, lambda p: p.database.observed_phase == "Updating")
    assert (project.phase, project.reason) == (Phase.RUNNING, Reason.READY)
    assert "The database serves." in project.database.message
    cluster.set_scenario("changing", None)
    project = follow(project, lambda p: p.database.observed_phase == "Running")
    assert project.events.filter(reason=Reason.READY).count() == 1


def test_policy_that_keeps_the_database_is_named(provisioned):
    name = provisioned.database.name
    change(CLUSTERS, name, {"spec": {"terminationPolicy": "DoNotTerminate"}})
    request_delete(provisioned, actor="tester")
    project = follow(provisioned, lambda p: p.reason == Reason.DELETION_BLOCKED)
    assert project.message.startswith(f"The terminationPolicy of the Cluster {name} is DoNotTerminate")
    change(CLUSTERS, name, {"spec": {"terminationPolicy": "Delete"}})
    follow(project, is_deleted)


def test_missing_operator_is_noticed_by_the_project_and_doctor(cluster, unique_name, monkeypatch):
    monkeypatch.setattr(cluster_state, "OPERATOR_PATIENCE", timedelta(seconds=1))
    cluster.faults.add("status", status=503, user="system:kubeblocks")
    project = follow(start(unique_name), lambda p: p.reason == Reason.OPERATOR_NOT_RUNNING)
    assert "operator is probably not running" in project.message
    found = {finding.subject: finding for finding in examine()}["operator"]
    assert (found.verdict, project.database.name in found.message) == (Verdict.FAILED, True)
    cluster.faults.clear()
    follow(project, is_running)
    assert {finding.subject: finding for finding in examine()}["operator"].verdict is Verdict.OK
