"""Adoption from end to end on any API server: the inventory, adopted and released Clusters, and refusals."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from devcluster.controllers.scenarios import NEVER, Scenario
from projects.domain.states import Origin, Phase, Reason
from projects.models import DatabaseCluster, FoundCluster, Inventory, Project
from projects.services.inventory import request_inventory
from projects.services.provisioning import add_project, request_delete, request_retry
from provisioning import tasks
from provisioning.inventory.adoption import request_adopt
from provisioning.inventory.clusters import take_inventory
from provisioning.kube.kinds import SECRET
from provisioning.objects.names import PROJECT_ID_LABEL, PROJECT_LABEL
from tests.contract.conftest import eventually
from tests.contract.panel import steps
from tests.contract.panel.steps import CLUSTERS, apply_foreign_cluster, start
from tests.factories import UserFactory
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def test_existing_database_is_used_and_released(cluster, unique_name):
    name = f"{unique_name}-agentruntime-abc123"
    apply_foreign_cluster(name)
    project = follow(start(unique_name, may_adopt=True), is_running)
    assert (project.database.name, project.database.origin) == (name, Origin.ADOPTED)
    # A user has put the project's label on the database's Secret.
    secret = f"{name}-postgresql-account-postgres"
    steps.administrator.merge(SECRET, "default", secret, {"metadata": {"labels": {PROJECT_ID_LABEL: str(project.uid)}}})
    request_delete(project, actor="tester")
    follow(project, lambda p: p.phase == Phase.DELETED)
    left = steps.administrator.get_or_none(CLUSTERS, "default", name)
    assert left is not None
    assert steps.administrator.get_or_none(SECRET, "default", secret) is not None
    assert PROJECT_ID_LABEL not in left["metadata"].get("labels", {})


def test_adopted_database_is_deleted_on_request(cluster, unique_name):
    name = f"{unique_name}-db-abcdefgh"
    apply_foreign_cluster(name, {"project.fullstackagent.io/name": unique_name})
    project = follow(start(unique_name, may_adopt=True), is_running)
    assert project.database.name == name
    request_delete(project, actor="tester", delete_adopted=True)
    follow(project, lambda p: p.phase == Phase.DELETED)
    assert steps.administrator.get_or_none(CLUSTERS, "default", name) is None


def test_cluster_is_adopted_by_name(cluster, unique_name, provisioned):
    name = f"made-by-hand-{unique_name[-6:]}"
    apply_foreign_cluster(name)
    project = add_project(f"{unique_name}a", actor="tester")
    assert not request_adopt(project, "no-such-cluster", actor="tester").accepted
    assert not request_adopt(project, provisioned.database.name, actor="tester").accepted
    assert request_adopt(project, name, actor="tester").accepted
    running = follow(project, is_running)
    assert running.database.origin == Origin.ADOPTED
    assert running.database.is_verified


def test_ambiguous_clusters_are_not_adopted(cluster, unique_name):
    for suffix in ("abc123", "def456"):
        apply_foreign_cluster(f"{unique_name}-agentruntime-{suffix}")
    project = follow(start(unique_name), lambda p: p.phase == Phase.FAILED)
    assert project.reason == Reason.CLUSTER_AMBIGUOUS
    assert "adopt" in project.message
    assert request_adopt(project, f"{unique_name}-agentruntime-def456", actor="tester").accepted
    assert follow(project, is_running).database.name == f"{unique_name}-agentruntime-def456"


# The inventory, and the page that it feeds.


def look():
    """Take an inventory, as the queue does; return its rows by name."""
    request_inventory(timezone.now())
    tasks.take_inventory()
    return {row.name: row for row in FoundCluster.objects.all()}


def staff():
    client = Client()
    client.force_login(UserFactory.create(permissions=["view_project", "provision_project", "add_project"]))
    return client


def test_released_cluster_is_listed_as_unmanaged_again(cluster, unique_name, provisioned):
    name = f"{unique_name}-by-hand"
    apply_foreign_cluster(name, {"project.fullstackagent.io/name": f"{unique_name}s", "team": "web"})
    seen = eventually(look, lambda rows: name in rows and rows[name].has_credentials)
    assert provisioned.database.name not in seen
    row = seen[name]
    assert (row.namespace, row.version, row.hint, row.obstacle) == ("default", "16.4.0", f"{unique_name}s", "")
    assert row.labels == {"project.fullstackagent.io/name": f"{unique_name}s", "team": "web"}
    assert row.secret_note == f"{name}-postgresql-account-postgres"
    assert row.created_at is not None
    assert not Inventory.objects.get().is_awaited

    client = staff()
    assert name in client.get(reverse("admin:projects_foundcluster_changelist")).content.decode()
    response = client.post(reverse("admin:projects_foundcluster_adopt", args=[row.pk]), {"name": f"{unique_name}s"})
    assert response.status_code == 302
    project = follow(Project.objects.get(name=f"{unique_name}s"), is_running)
    assert (project.database.name, project.database.origin) == (name, Origin.ADOPTED)
    assert project.database.is_verified
    assert name not in look()

    request_delete(project, actor="tester")
    follow(project, lambda p: p.phase == Phase.DELETED)
    back = look()[name]
    assert (back.obstacle, back.claimed_by) == ("", "")


def test_unadoptable_cluster_has_a_reason(cluster, set_scenario, unique_name):
    going, elses, odd = (f"{unique_name}-{what}" for what in ("going", "elses", "odd"))
    set_scenario("slow", Scenario(match=going, slow_delete_s=NEVER))
    apply_foreign_cluster(going)
    apply_foreign_cluster(elses, {PROJECT_ID_LABEL: str(uuid4()), PROJECT_LABEL: "shop"})
    apply_foreign_cluster(odd, {PROJECT_ID_LABEL: "not-a-uid"})
    eventually(look, lambda rows: going in rows and rows[going].phase == "Running")
    steps.administrator.delete(CLUSTERS, "default", going)
    rows = look()
    assert "is being deleted" in rows[going].obstacle
    assert "has the label of shop, which this panel does not know" in rows[elses].obstacle
    assert "release the cluster under Orphaned objects" in rows[odd].obstacle
    project = add_project(unique_name, actor="tester")
    for name in (going, elses, odd):
        outcome = request_adopt(project, name, actor="tester")
        assert (outcome.accepted, outcome.message) == (False, rows[name].obstacle)
    set_scenario("slow", None)
    eventually(look, lambda rows: going not in rows)


def test_missing_cluster_is_reported_during_adoption(cluster, unique_name):
    name = f"{unique_name}-brief"
    apply_foreign_cluster(name)
    project = add_project(unique_name, actor="tester")
    assert request_adopt(project, name, actor="tester").accepted
    steps.administrator.delete(CLUSTERS, "default", name)
    eventually(lambda: steps.administrator.get_or_none(CLUSTERS, "default", name), lambda item: item is None)
    failed = follow(project, lambda p: p.phase == Phase.FAILED)
    assert failed.message.startswith(f"The Cluster {name} does not exist, so it can't be adopted.")
    request_retry(failed, actor="tester")
    failed = follow(project, lambda p: p.is_carried_out)
    assert failed.reason == Reason.CLUSTER_MISSING
    assert DatabaseCluster.objects.get(project=project).name == name
    # The next inventory succeeds.
    apply_foreign_cluster(f"{name}r")
    assert request_adopt(failed, f"{name}r", actor="tester").accepted
    assert follow(failed, is_running).database.name == f"{name}r"


def test_unreachable_api_server_keeps_the_last_inventory(cluster, unique_name, use_cluster, tmp_path):
    name = f"{unique_name}-kept"
    apply_foreign_cluster(name)
    assert name in look()
    complete_at = Inventory.objects.get().complete_at
    broken = tmp_path / "kubeconfig"
    broken.write_text(cluster.kubeconfig.read_text().replace(cluster.url, "http://127.0.0.1:9"))
    use_cluster(broken)
    assert name in look()
    inventory = Inventory.objects.get()
    assert "can't be reached" in inventory.trouble
    assert (inventory.is_awaited, inventory.complete_at) == (False, complete_at)


def test_request_during_an_inventory_starts_another(cluster):
    now = timezone.now()
    request_inventory(now)
    Inventory.objects.update(running_until=now + timedelta(seconds=60))
    tasks.take_inventory()
    inventory = Inventory.objects.get()
    assert (inventory.looked_at, inventory.queued_at) == (None, None)
    # The running inventory began before the second request, so it enqueues another task.
    Inventory.objects.update(running_until=None, requested_at=now + timedelta(seconds=60))
    OrmQ.objects.all().delete()
    take_inventory(now)
    assert [row.task["func"] for row in OrmQ.objects.all()] == ["provisioning.tasks.take_inventory"]
