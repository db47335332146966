"""Unmanaged clusters in the admin: the list, the form that adopts one, refusals."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from projects.domain.states import DesiredState, Origin, Phase
from projects.models import DatabaseCluster, FoundCluster, Inventory, Project, read_inventory
from projects.services.adoption import Adoptable, request_adopt
from projects.services.cancellation import request_cancel
from projects.services.inventory import request_inventory
from tests.factories import DatabaseFactory, ProjectFactory
from tests.support.pages import HTMX, log_in

pytestmark = pytest.mark.django_db

LIST = "admin:projects_foundcluster_changelist"
FRAGMENT = "admin:projects_foundcluster_fragment"
RESCAN = "admin:projects_foundcluster_rescan"
ADOPT = "admin:projects_foundcluster_adopt"
MAY_ADOPT = ("view_project", "provision_project")


def found(name: str = "made-by-hand", **fields: Any) -> FoundCluster:
    values = {"namespace": "default", "uid": "cluster-uid", "api_version": "apps.kubeblocks.io/v1", "phase": "Running"}
    return FoundCluster.objects.create(name=name, seen_at=timezone.now(), **{**values, **fields})


def looked(ago_s: float = 5, **fields: Any) -> Inventory:
    at = timezone.now() - timedelta(seconds=ago_s)
    return Inventory.objects.create(
        pk=Inventory.PK, **{"requested_at": at, "looked_at": at, "complete_at": at, **fields}
    )


def tasks() -> list[str]:
    return [row.task["func"] for row in OrmQ.objects.order_by("pk")]


def adopt(client: Client, cluster: FoundCluster, **data: Any) -> Any:
    return client.post(reverse(ADOPT, args=[cluster.pk]), data)


# --- The list --------------------------------------------------------------------------------------------------


def test_first_visit_requests_one_inventory_and_refreshes(admin):
    body = admin.get(reverse(LIST)).content.decode()
    assert 'data-empty="scanning"' in body
    assert "every 1s" in body
    assert "every 1s" in admin.get(reverse(FRAGMENT), headers=HTMX).content.decode()
    assert tasks() == ["provisioning.tasks.take_inventory"]


def test_fresh_inventory_is_shown_without_a_new_one(admin):
    looked(ago_s=12)
    found(
        version="16.4.0",
        hint="aaa",
        labels={"team": "web"},
        secret_note="made-by-hand-conn-credential",
        has_credentials=True,
    )
    found("leaving", obstacle="The cluster leaving is being deleted, so it can't be adopted.")
    body = admin.get(reverse(LIST)).content.decode()
    for text in ("made-by-hand", "16.4.0", "<strong>aaa</strong>", "team=web", "Credentials: made-by-hand-conn"):
        assert text in body
    assert "12 s ago" in body
    assert "every 60s" in body
    assert "is being deleted, so it can&#x27;t be adopted" in body
    assert body.count("Adopt made-by-hand") == 1
    assert "Adopt leaving" not in body
    assert tasks() == []


def test_refresh_of_an_old_inventory_requests_a_new_one(admin):
    looked(ago_s=300)
    admin.get(reverse(FRAGMENT), headers=HTMX)
    assert tasks() == ["provisioning.tasks.take_inventory"]


def test_rescan_requests_one_inventory_and_returns_the_list(admin):
    looked()
    for _ in range(3):
        body = admin.post(reverse(RESCAN), headers=HTMX).content.decode()
    assert "Scanning …" in body
    assert "disabled" in body
    assert tasks() == ["provisioning.tasks.take_inventory"]
    assert admin.get(reverse(RESCAN)).status_code == 405


def test_lost_task_is_queued_again():
    now = timezone.now()
    assert request_inventory(now)
    assert not request_inventory(now + timedelta(seconds=5))
    assert request_inventory(now + timedelta(seconds=40))


def test_incomplete_inventory_shows_its_cause(admin):
    looked(trouble="The API server answered 403: no. Run `manage.py doctor`.", complete_at=None)
    body = admin.get(reverse(LIST)).content.decode()
    assert "data-incomplete" in body
    assert "The API server answered 403" in body
    assert 'data-empty="incomplete"' in body


def test_list_needs_view_project():
    looked()
    stranger = log_in(is_staff=True)
    assert stranger.get(reverse(LIST)).status_code == 403
    assert stranger.post(reverse(RESCAN)).status_code == 403


def test_viewer_can_not_adopt():
    looked()
    cluster = found()
    viewer = log_in("view_project")
    assert "Adopt made-by-hand" not in viewer.get(reverse(LIST)).content.decode()
    assert viewer.get(reverse(ADOPT, args=[cluster.pk])).status_code == 403
    assert adopt(viewer, cluster, name="aaa").status_code == 403
    assert not Project.objects.exists()


# --- Adopting --------------------------------------------------------------------------------------------------


def test_existing_project_adopts_the_cluster():
    project, cluster = ProjectFactory.create(name="aaa"), found()
    response = adopt(log_in(*MAY_ADOPT), cluster, project=project.pk)
    assert response.headers["Location"] == project.get_absolute_url()
    project.refresh_from_db()
    database = project.databases.get()
    assert (database.name, database.origin, database.object_uid) == ("made-by-hand", Origin.ADOPTED, "cluster-uid")
    assert (project.desired_state, project.phase) == (DesiredState.RUNNING, Phase.WAITING)
    assert project.wanted_generation > project.observed_generation
    assert [event.message for event in project.events.all()] == [
        "maria requested the adoption of the cluster made-by-hand."
    ]
    assert tasks() == ["provisioning.tasks.reconcile_project"]
    assert not FoundCluster.objects.exists()


def test_new_project_adopts_in_the_namespace_of_the_cluster(settings):
    settings.ALLOWED_NAMESPACES = ["elsewhere"]
    cluster = found(namespace="elsewhere")
    adopt(log_in(*MAY_ADOPT, "add_project"), cluster, name="Web Shop")
    project = Project.objects.get()
    assert (project.name, project.namespace, project.owner.username) == ("Web Shop", "elsewhere", "maria")
    assert project.databases.get().namespace == "elsewhere"


def test_new_project_needs_add_project():
    cluster = found()
    client = log_in(*MAY_ADOPT)
    assert 'name="name"' not in client.get(reverse(ADOPT, args=[cluster.pk])).content.decode()
    assert adopt(client, cluster, name="aaa").context["form"].non_field_errors()
    assert not Project.objects.exists()


def test_form_suggests_the_project_named_by_the_labels():
    cluster = found(hint="aaa")
    client = log_in(*MAY_ADOPT, "add_project")
    form = client.get(reverse(ADOPT, args=[cluster.pk])).context["form"]
    assert (form["project"].initial, form["name"].initial) == (None, "aaa")
    project = ProjectFactory.create(name="aaa")
    form = client.get(reverse(ADOPT, args=[cluster.pk])).context["form"]
    assert (form["project"].initial, form["name"].initial) == (project, None)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({}, "not both"),
        ({"name": "<script>"}, "characters that can&#x27;t be used"),
        ({"name": "TAKEN"}, "and so is the project"),
        ({"project": "999"}, "Choose another project"),
    ],
)
def test_invalid_form_shows_an_error(data, error):
    ProjectFactory.create(name="taken")
    cluster = found()
    response = adopt(log_in(*MAY_ADOPT, "add_project"), cluster, **data)
    assert response.status_code == 200
    assert error in response.content.decode()
    assert not DatabaseCluster.objects.exists()
    assert Project.objects.count() == 1


def test_form_offers_only_projects_that_can_adopt():
    free = ProjectFactory.create(name="free")
    ProjectFactory.create(name="elsewhere", namespace="elsewhere")
    ProjectFactory.create(name="gone", deleted=True)
    DatabaseFactory.create(project__name="has-one")
    cancelled = DatabaseFactory.create(project__name="cancelled", applied_at=None, origin=Origin.ADOPTED).project
    assert request_cancel(cancelled, actor="ann").accepted
    # The Cluster may exist although the row doesn't say so: the response of an apply can get lost.
    DatabaseFactory.create(project__name="being-made", applied_at=None)
    not_there = DatabaseFactory.create(project__name="not-there", applied_at=None, origin=Origin.ADOPTED).project
    client = log_in(*MAY_ADOPT)
    form = client.get(reverse(ADOPT, args=[found().pk])).context["form"]
    assert set(form.fields["project"].queryset) == {free, not_there}
    claimed = found("claimed", claimed_by=str(free.uid))
    form = client.get(reverse(ADOPT, args=[claimed.pk])).context["form"]
    assert set(form.fields["project"].queryset) == {free}


def test_adoption_replaces_one_that_found_no_cluster():
    waiting = DatabaseFactory.create(applied_at=None, origin=Origin.ADOPTED)
    assert request_adopt(waiting.project, Adoptable.of(found()), actor="ann").accepted
    assert waiting.project.databases.get(retired_at=None).name == "made-by-hand"
    waiting.refresh_from_db()
    assert waiting.retired_at is not None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"obstacle": "The cluster x is being deleted."}, "NotAdoptable"),
        ({"claimed_by": "6b2f6b16-3c5f-4f0e-8d7d-0d6f6e2b5a11"}, "Taken"),
        ({"namespace": "elsewhere"}, "OtherNamespace"),
        ({"name": "taken-agentruntime-abc123"}, "Taken"),
    ],
)
def test_refused_adoption_changes_nothing(fields, reason):
    DatabaseFactory.create(project__name="taken")
    project = ProjectFactory.create(name="aaa")
    outcome = request_adopt(project, Adoptable.of(found(**fields)), actor="ann")
    assert (outcome.accepted, outcome.reason) == (False, reason)
    assert not project.databases.exists()
    assert not project.events.exists()
    assert tasks() == []


def test_project_with_a_database_and_deleted_project_can_not_adopt():
    wish = Adoptable.of(found())
    for busy in (DatabaseFactory.create().project, DatabaseFactory.create(applied_at=None).project):
        assert "has the database" in request_adopt(busy, wish, actor="ann").message
    gone = ProjectFactory.create(deleted=True)
    assert "is deleted" in request_adopt(gone, Adoptable.of(found("other")), actor="ann").message
    assert not DatabaseCluster.objects.filter(origin=Origin.ADOPTED).exists()


def test_missing_or_unadoptable_cluster_redirects_to_the_list():
    cluster = found(obstacle="The cluster made-by-hand is being deleted, so it can't be adopted.")
    client = log_in(*MAY_ADOPT)
    for pk in (cluster.pk, cluster.pk + 1):
        response = client.get(reverse(ADOPT, args=[pk]), follow=True)
        assert response.redirect_chain == [(reverse(LIST), 302)]
    assert "was deleted or adopted in the meantime" in response.content.decode()


def test_inventory_is_awaited_until_it_has_looked():
    now = timezone.now()
    assert not read_inventory().is_awaited
    request_inventory(now)
    assert read_inventory().is_awaited
    Inventory.objects.update(looked_at=now + timedelta(seconds=1))
    assert not read_inventory().is_awaited
