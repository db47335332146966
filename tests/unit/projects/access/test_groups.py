"""The four groups, and the permissions of owners without a group."""

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse

from projects.access.groups import GROUPS, ensure_groups
from projects.domain.permissions import may
from projects.domain.states import DesiredState
from projects.models import Event, Project
from tests.factories import EventFactory, ProjectFactory, UserFactory, provisioned_project
from tests.support.pages import edit, page

pytestmark = pytest.mark.django_db

LIST = "admin:projects_project_changelist"
CHANGE = "admin:projects_project_change"


def labels(group: Group) -> set[str]:
    return {f"{each.content_type.app_label}.{each.codename}" for each in group.permissions.select_related()}


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner():
    return UserFactory.create(username="otto")


# --- Groups ----------------------------------------------------------------------------------------------------


def test_migrate_creates_complete_groups():
    assert {group.name: labels(group) for group in Group.objects.filter(name__in=GROUPS)} == GROUPS


def test_migration_creates_groups_before_permissions_exist():
    Permission.objects.all().delete()
    Group.objects.all().delete()
    state = MigrationExecutor(connection).loader.project_state(("projects", "0002_groups"))
    # The editor is not entered: SQLite's refuses inside of a transaction, and the migration changes no table.
    import_module("projects.migrations.0002_groups").make_groups(state.apps, connection.schema_editor())
    assert {group.name: labels(group) for group in Group.objects.all()} == GROUPS


def test_migrate_restores_removed_permissions_and_keeps_added_ones():
    viewer = Group.objects.get(name="Viewer")
    viewer.permissions.set([Permission.objects.get(codename="add_project")])
    Group.objects.get(name="Credentials").delete()
    call_command("migrate", verbosity=0)
    assert labels(viewer) == GROUPS["Viewer"] | {"projects.add_project"}
    assert labels(Group.objects.get(name="Credentials")) == GROUPS["Credentials"]


def test_missing_permission_is_skipped():
    Permission.objects.filter(codename="reveal_credentials").delete()
    ensure_groups(apps, "default")
    assert labels(Group.objects.get(name="Credentials")) == GROUPS["Credentials"] - {"projects.reveal_credentials"}


def test_built_in_groups_are_read_only(admin):
    for group in Group.objects.filter(name__in=GROUPS):
        url = reverse("admin:auth_group_change", args=[group.pk])
        assert admin.post(url, {"name": "Everybody", "permissions": []}).status_code == 403
        assert admin.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}).status_code == 403
    assert set(Group.objects.values_list("name", flat=True)) == set(GROUPS)


def test_administrator_can_not_create_or_edit_superusers():
    administrator = UserFactory.create(groups=["Administrator"])
    superuser = UserFactory.create(username="root", is_superuser=True)
    client = client_of(administrator)
    url = reverse("admin:auth_user_change", args=[superuser.pk])
    assert client.post(url, {"username": "mallory"}).status_code == 403
    assert client.post(reverse("admin:auth_user_password_change", args=[superuser.pk]), {}).status_code == 403
    assert client.post(reverse("admin:auth_user_delete", args=[superuser.pk]), {"post": "yes"}).status_code == 403
    own = {"username": administrator.username, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    answer = edit(client, reverse("admin:auth_user_change", args=[administrator.pk]), {**own, **joined})
    assert answer.status_code == 302
    administrator.refresh_from_db()
    assert not administrator.is_superuser


# --- Owners ----------------------------------------------------------------------------------------------------


def test_owners_see_only_their_own_projects(owner):
    mine = provisioned_project(name="mine-alone", owner=owner)
    others = provisioned_project(name="of-others")
    for project in (mine, others):
        EventFactory.create(project=project, message=f"Something about {project.name}.")
    client = client_of(owner)
    for url in (
        page("list"),
        reverse("admin:index"),
        reverse(LIST),
        reverse("admin:projects_databasecluster_changelist"),
        reverse("admin:projects_sandbox_changelist"),
        reverse("admin:projects_event_changelist"),
        reverse("admin:projects_event_changelist") + f"?project__id__exact={others.pk}",
    ):
        body = client.get(url).content.decode()
        assert ("mine-alone" in body) is (str(others.pk) not in url), url
        assert "of-others" not in body, url
    for name in ("detail", "status", "credentials", "delete"):
        assert client.get(page(name, mine.pk)).status_code == 200
        assert client.get(page(name, others.pk)).status_code == 404


def test_counts_of_owners_include_only_their_own_projects(owner):
    ProjectFactory.create(owner=owner, failed=True)
    ProjectFactory.create_batch(3, failed=True)
    client = client_of(owner)
    assert [count for label, count, *_ in client.get(reverse("admin:index")).context["tiles"] if label == "Failed"] == [
        1
    ]
    assert [count for key, _, count, _ in client.get(page("list")).context["chips"] if key == "Failed"] == [1]


@pytest.mark.parametrize("name", ["provision", "retry", "delete"])
def test_owners_act_on_their_own_projects_only(owner, name):
    mine, others = ProjectFactory.create(owner=owner, failed=True), ProjectFactory.create(failed=True)
    client = client_of(owner)
    assert client.post(page(name, mine.pk)).status_code == 302
    assert client.post(page(name, others.pk)).status_code == 404
    assert [event.project for event in Event.objects.all()] == [mine]


def test_owner_needs_the_permission_to_reveal(owner):
    mine = provisioned_project(owner=owner)
    data = {"reason": "to look"}
    assert client_of(owner).post(page("credentials", mine.pk), data).status_code == 403
    trusted = UserFactory.create(permissions=["reveal_credentials"])
    others = provisioned_project()
    Project.objects.filter(pk=mine.pk).update(owner=trusted)
    assert client_of(trusted).post(page("credentials", mine.pk), data).status_code == 200
    assert client_of(trusted).post(page("credentials", others.pk), data).status_code == 404
    assert Event.objects.get().project == mine


def test_bulk_actions_of_owners_skip_projects_of_others(owner):
    mine, others = ProjectFactory.create(owner=owner), ProjectFactory.create()
    data = {"action": "provision_selected", "_selected_action": [mine.pk, others.pk]}
    client_of(owner).post(reverse(LIST), data)
    wanted = Project.objects.filter(desired_state=DesiredState.RUNNING)
    assert [*wanted] == [mine]


def test_viewer_acts_only_on_their_own_project(owner):
    owner.groups.add(Group.objects.get(name="Viewer"))
    mine, others = ProjectFactory.create(owner=owner), ProjectFactory.create(name="of-others")
    client = client_of(owner)
    for action in ("provision_selected", "delete_selected_projects"):
        data = {"action": action, "_selected_action": [mine.pk, others.pk], "confirmed": "yes"}
        body = client.post(reverse(LIST), data, follow=True).content.decode()
        assert "of-others: you don&#x27;t have permission" in body
    others.refresh_from_db()
    assert others.desired_state == DesiredState.REGISTERED
    assert client.post(page("provision", others.pk)).status_code == 403


def test_owner_edits_but_can_not_give_away_a_project(owner):
    mine, others = ProjectFactory.create(owner=owner), ProjectFactory.create()
    client = client_of(owner)
    stranger = UserFactory.create()
    variables = {f"variables-{key}": value for key, value in (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0))}
    data = {"description": "Mine.", "owner": stranger.pk, "namespace": "kube-system", **variables}
    assert edit(client, reverse(CHANGE, args=[mine.pk]), data).status_code == 302
    mine.refresh_from_db()
    assert (mine.description, mine.owner, mine.namespace) == ("Mine.", owner, "default")
    # The admin redirects to its index page for rows that the user can't see.
    assert edit(client, reverse(CHANGE, args=[others.pk]), data).status_code == 403
    for name in ("change", "history"):
        answer = client.get(reverse(f"admin:projects_project_{name}", args=[others.pk]))
        assert answer.headers["Location"] == reverse("admin:index")
    others.refresh_from_db()
    assert others.description == ""


def test_inactive_or_non_staff_owner_has_no_access(owner):
    mine = ProjectFactory.create(owner=owner)
    for field in ("is_staff", "is_active"):
        person = UserFactory.build(pk=owner.pk, **{field: False})
        assert not may(person, "view_project", mine)
        assert not Project.objects.visible_to(person).exists()
