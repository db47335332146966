"""Nobody can edit users or groups with more permissions than their own, or grant permissions they don't have."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory
from tests.support.pages import edit

pytestmark = pytest.mark.django_db


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def with_permissions(username: str, *labels: str) -> User:
    """Return a staff member with these permissions, `app.codename`."""
    user = UserFactory.create(username=username)
    for label in labels:
        app, codename = label.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


@pytest.fixture
def editor() -> User:
    return with_permissions(
        "editor", "auth.view_user", "auth.change_user", "auth.delete_user", "auth.add_user", "projects.view_project"
    )


def change(client: Client, user: User, **fields: object):
    data = {
        "username": user.username,
        "is_staff": "on",
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        **fields,
    }
    return edit(client, reverse("admin:auth_user_change", args=[user.pk]), data)


@pytest.mark.parametrize("groups", [["Administrator"], ["Credentials"], ["Viewer", "Operator"]])
def test_user_with_more_permissions_can_not_be_edited(editor, groups):
    other = UserFactory.create(username="other", groups=groups)
    client = client_of(editor)
    assert change(client, other, username="renamed").status_code == 403
    passwords = {"password1": "Tr0ub4dor-3x", "password2": "Tr0ub4dor-3x", "usable_password": "true"}
    assert client.post(reverse("admin:auth_user_password_change", args=[other.pk]), passwords).status_code == 403
    assert client.post(reverse("admin:auth_user_delete", args=[other.pk]), {"post": "yes"}).status_code == 403
    other.refresh_from_db()
    assert other.username == "other"
    assert not other.has_usable_password() or not other.check_password("Tr0ub4dor-3x")


def test_inactive_administrator_can_not_be_edited(editor):
    other = UserFactory.create(username="other", groups=["Administrator"], is_active=False)
    assert change(client_of(editor), other).status_code == 403


def test_user_with_one_more_permission_can_not_be_edited(editor):
    other = with_permissions("other", "projects.reveal_credentials")
    assert change(client_of(editor), other).status_code == 403


def test_bulk_deletion_keeps_users_with_more_permissions(editor):
    other = UserFactory.create(username="other", groups=["Administrator"])
    data = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    client_of(editor).post(reverse("admin:auth_user_changelist"), data)
    assert User.objects.filter(pk=other.pk).exists()


def test_user_with_fewer_permissions_can_be_edited(editor):
    other = with_permissions("other", "projects.view_project")
    assert change(client_of(editor), other, first_name="Ada").status_code == 302
    other.refresh_from_db()
    assert other.first_name == "Ada"


def test_groups_that_give_more_are_not_offered_or_taken():
    granting = with_permissions("granting", "auth.view_user", "auth.change_user", "auth.change_group")
    for label in ("view_project", "view_sandboxtemplate"):
        granting.user_permissions.add(Permission.objects.get(codename=label))
    viewer, administrator = Group.objects.get(name="Viewer"), Group.objects.get(name="Administrator")
    client = client_of(granting)
    change(client, granting, groups=[administrator.pk])
    assert list(granting.groups.all()) == []
    assert change(client, granting, groups=[viewer.pk]).status_code == 302
    assert list(granting.groups.all()) == [viewer]


def test_group_gets_only_permissions_of_its_editor():
    editor = with_permissions("editor", "auth.view_group", "auth.add_group", "auth.change_group")
    mine = Group.objects.create(name="mine")
    editor.groups.add(mine)
    reveal = Permission.objects.get(codename="reveal_credentials")
    edit(
        client_of(editor),
        reverse("admin:auth_group_change", args=[mine.pk]),
        {"name": "mine", "permissions": [reveal.pk]},
    )
    client_of(editor).post(reverse("admin:auth_group_add"), {"name": "new", "permissions": [reveal.pk]})
    assert not Group.objects.filter(name__in=["mine", "new"], permissions=reveal).exists()


def test_group_with_more_permissions_can_not_be_edited_or_deleted():
    editor = with_permissions("editor", "auth.view_group", "auth.change_group", "auth.delete_group")
    strong = Group.objects.create(name="strong")
    strong.permissions.add(Permission.objects.get(codename="reveal_credentials"))
    client = client_of(editor)
    renamed = edit(client, reverse("admin:auth_group_change", args=[strong.pk]), {"name": "weak", "permissions": []})
    assert renamed.status_code == 403
    assert client.post(reverse("admin:auth_group_delete", args=[strong.pk]), {"post": "yes"}).status_code == 403
    strong.refresh_from_db()
    assert (strong.name, strong.permissions.count()) == ("strong", 1)
