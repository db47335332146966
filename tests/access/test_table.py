"""Requests every address, admin action and command of the access table as every role."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import get_commands
from django.db import transaction
from django.http import HttpResponseBase
from django.template import Template
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_q.models import OrmQ

from projects.models import Event
from tests.access import table
from tests.access.world import World

# What has no such mark is given no database.
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """One world for the whole table: what a request changes in it is taken back at once, and the world at the end."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


def addresses(patterns: Any = None, namespace: str = "", route: str = "") -> Iterator[tuple[str, URLPattern, str]]:
    """Yield every address as the table calls it: by its name, or its route where it has none."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from addresses(pattern.url_patterns, inner, here)
        else:
            yield (f"{namespace}{pattern.name}" if pattern.name else here), pattern, here


def address_of(name: str, request: table.Request, world: World) -> str:
    row = world.rows[request.target]
    if name == "admin:view_on_site":
        return reverse(name, args=[ContentType.objects.get_for_model(row).pk, row.pk])
    if name == "admin:app_list":
        return reverse(name, args=["projects"])
    if name.startswith("admin/"):
        return "/" + name.replace("<path:object_id>", str(row.pk)).replace("(?P<url>.*)$", "nowhere/")
    takes_key = any("<" in route for called, _, route in addresses() if called == name)
    return reverse(name, args=[row.pk] if takes_key else [])


def as_role(world: World, role: str, url: str, request: table.Request) -> HttpResponseBase:
    """Send the request as this role; what it changes is taken back.

    Only the first of those who may gets the page itself: what is asked here is who gets one, and the pages are large.
    """
    with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        if role not in request.may[:1]:
            patch.setattr(Template, "_render", lambda *_: "")
        response: HttpResponseBase = getattr(world.browser(role), request.method)(url, request.data)
        transaction.set_rollback(True)
    return response


def expected(name: str, role: str, request: table.Request) -> int:
    if role in request.may:
        return request.answer
    if role in (table.ANONYMOUS, table.OUTSIDER) and name not in table.OPEN:
        return 403 if role == table.OUTSIDER and name.startswith("projects:") else 302
    return request.unseen if role == table.STAFF else request.refused


# --- Nothing is missing ----------------------------------------------------------------------------------------


def test_table_and_url_patterns_match():
    assert {name for name, *_ in addresses()} == set(table.ADDRESSES)


def test_every_admin_action_is_in_the_table(world: World) -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="root")
    offered = {
        (model._meta.label_lower, action)
        for model, model_admin in admin.site._registry.items()
        for action in model_admin.get_actions(request)
    }
    assert offered == set(table.ACTIONS)


def test_every_command_is_in_the_table():
    ours = {name for name, app in get_commands().items() if not str(app).startswith("django.")}
    assert ours == set(table.COMMANDS)


# --- Everybody gets what the table says ------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(table.ADDRESSES))
def test_each_role_gets_the_expected_answer(name: str, world: World) -> None:
    for request in table.ADDRESSES[name]:
        url = address_of(name, request, world)
        answers = {role: as_role(world, role, url, request) for role in table.ROLES}
        said = {role: answer.status_code for role, answer in answers.items()}
        assert said == {role: expected(name, role, request) for role in table.ROLES}, f"{request.method} {url}"
        if name not in table.OPEN and table.ANONYMOUS not in request.may:
            assert answers[table.ANONYMOUS].headers["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize(("label", "action"), sorted(table.ACTIONS))
def test_each_action_runs_for_the_listed_roles_only(label: str, action: str, world: World) -> None:
    row = world.rows[table.ACTION_TARGETS.get(action, label.split(".")[1])]
    data = {"action": action, ACTION_CHECKBOX_NAME: str(row.pk), "post": "yes", "confirmed": "yes"}
    url = reverse(f"admin:{label.replace('.', '_')}_changelist")

    def rows() -> tuple[int, int, int]:
        return Event.objects.count(), OrmQ.objects.count(), type(row)._default_manager.count()

    before = rows()
    has_acted = set()
    for role in table.ROLES:
        with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Template, "_render", lambda *_: "")
            world.browser(role).post(url, data)
            if rows() != before:
                has_acted.add(role)
            transaction.set_rollback(True)
    assert has_acted == set(table.ACTIONS[label, action])


def test_theme_adds_no_action_by_get():
    """Unfold's own actions are addresses that a GET carries out: none is in use."""
    for model_admin in admin.site._registry.values():
        assert isinstance(model_admin, ModelAdmin)
        for kind in ("list", "row", "detail", "submit_line"):
            assert not getattr(model_admin, f"actions_{kind}", ())
