"""Clusters that match a project by name or legacy label only: which users' requests adopt them."""

import pytest
from django.test import Client
from django.urls import reverse

from projects.domain.states import Origin, Phase, Reason
from projects.models import Project
from provisioning.objects.names import LEGACY_PROJECT_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL
from tests.contract.conftest import eventually
from tests.contract.panel import steps
from tests.contract.panel.steps import CLUSTERS, apply_foreign_cluster
from tests.contract.panel.test_adoption import look
from tests.factories import UserFactory
from tests.support.commands import run
from tests.support.pages import page
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def browser_of(**fields):
    client = Client()
    client.force_login(UserFactory.create(**fields))
    return client


@pytest.fixture
def owner():
    """A user who can add projects and has the permissions of an owner."""
    return browser_of(permissions=["add_project"])


@pytest.fixture
def operator():
    return browser_of(groups=["Operator"])


def add(client, name):
    client.post(page("add"), {"name": name, "namespace": "default", "description": ""})
    return Project.objects.get(name=name)


def needs_adoption(project):
    return project.reason == Reason.ADOPTION_NEEDED


def is_deleted(project):
    return project.phase == Phase.DELETED


def labels_of(name):
    return steps.administrator.get_or_none(CLUSTERS, "default", name)["metadata"].get("labels", {})


def buttons_of(client, project):
    return [button.label for button in client.get(page("detail", project.pk)).context["buttons"]]


@pytest.mark.parametrize(("suffix", "labeled"), [("", False), ("-agentruntime-abc123", False), ("-db-abcdefgh", True)])
def test_project_of_the_same_name_adopts_no_cluster(cluster, unique_name, owner, suffix, labeled):
    theirs = f"{unique_name}{suffix}"
    apply_foreign_cluster(theirs, {LEGACY_PROJECT_LABEL: unique_name} if labeled else {})
    project = add(owner, unique_name)
    owner.post(page("provision", project.pk))
    for press in ("retry", "provision", "retry"):
        refused = follow(project, needs_adoption)
        assert refused.phase == Phase.FAILED
        assert f"cluster {theirs} already exists in the namespace default" in refused.message
        assert "a user who may adopt" in refused.message
        assert not refused.databases.exists()
        assert not refused.sandboxes.exists()
        owner.post(page(press, project.pk))
    assert buttons_of(owner, follow(project, needs_adoption)) == ["Retry", "Cancel provisioning", "Delete"]
    owner.post(page("delete", project.pk))
    follow(project, is_deleted)
    assert not {PROJECT_ID_LABEL, ORIGIN_LABEL} & labels_of(theirs).keys()


def test_adopt_button_resumes_the_provisioning(cluster, unique_name, owner, operator):
    apply_foreign_cluster(unique_name)
    project = add(owner, unique_name)
    owner.post(page("provision", project.pk))
    refused = follow(project, needs_adoption)
    assert buttons_of(operator, refused) == ["Adopt", "Retry", "Cancel provisioning", "Delete"]
    # A retry of all failed projects does not choose to adopt.
    operator.post(page("retry", project.pk))
    follow(project, lambda p: needs_adoption(p) and p.is_carried_out)
    operator.post(page("provision", project.pk))
    running = follow(project, is_running)
    assert (running.database.name, running.database.origin) == (unique_name, Origin.ADOPTED)
    assert labels_of(unique_name)[PROJECT_ID_LABEL] == str(project.uid)
    assert project.events.filter(message__endswith=" requested the adoption of the existing cluster.").exists()


def test_another_cluster_can_be_adopted_from_the_list(cluster, unique_name, owner, operator):
    chosen = f"{unique_name}-chosen"
    apply_foreign_cluster(unique_name)
    apply_foreign_cluster(chosen)
    project = add(owner, unique_name)
    owner.post(page("provision", project.pk))
    follow(project, needs_adoption)
    row = look()[chosen]
    operator.post(reverse("admin:projects_foundcluster_adopt", args=[row.pk]), {"project": project.pk})
    assert follow(project, is_running).database.name == chosen
    assert PROJECT_ID_LABEL not in labels_of(unique_name)


def test_provisioning_resumes_after_the_cluster_is_deleted(cluster, unique_name, owner):
    apply_foreign_cluster(unique_name)
    project = add(owner, unique_name)
    owner.post(page("provision", project.pk))
    follow(project, needs_adoption)
    steps.administrator.delete(CLUSTERS, "default", unique_name)
    eventually(lambda: steps.administrator.get_or_none(CLUSTERS, "default", unique_name), lambda item: item is None)
    running = follow(project, is_running)
    assert running.database.origin == Origin.CREATED


def test_missing_database_is_not_replaced_by_a_matching_cluster(cluster, unique_name, owner):
    project = add(owner, unique_name)
    owner.post(page("provision", project.pk))
    lost = follow(project, is_running).database.name
    steps.administrator.delete(CLUSTERS, "default", lost)
    eventually(lambda: steps.administrator.get_or_none(CLUSTERS, "default", lost), lambda item: item is None)
    apply_foreign_cluster(unique_name)
    follow(project, lambda p: p.reason == Reason.CLUSTER_MISSING)
    owner.post(page("retry", project.pk))
    follow(project, needs_adoption)
    assert PROJECT_ID_LABEL not in labels_of(unique_name)


def test_owner_can_not_delete_an_adopted_database(cluster, unique_name, owner, operator):
    """A user with the permission adopted it for the owner's project."""
    apply_foreign_cluster(unique_name)
    project = add(owner, unique_name)
    operator.post(page("provision", project.pk))
    follow(project, is_running)
    assert "delete_adopted" not in owner.get(page("delete", project.pk)).content.decode()
    refused = owner.post(page("delete", project.pk), {"delete_adopted": "yes"})
    assert refused.status_code == 403
    assert "delete adopted databases" in refused.content.decode()
    owner.post(page("delete", project.pk))
    follow(project, is_deleted)
    assert PROJECT_ID_LABEL not in labels_of(unique_name)


def test_command_adopts_by_name_and_plan_reports_obstacles(cluster, unique_name, owner):
    apply_foreign_cluster(unique_name)
    project = add(owner, unique_name)
    assert f"would adopt {unique_name}, a Cluster that exists" in run("provision", unique_name, "--dry-run").out
    owner.post(page("provision", project.pk))
    follow(project, needs_adoption)
    planned = run("plan", unique_name)
    assert (planned.code, "a user who may adopt" in planned.err) == (1, True)
    assert run("provision", unique_name).code == 0
    assert follow(project, is_running).database.name == unique_name
