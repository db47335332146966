"""Revealing credentials: needs a recent log-in, and records an event that can't be changed or deleted."""

import time

import pytest
from django.contrib.auth.models import User
from django.db.models import ProtectedError
from django.test import Client
from django.urls import reverse

from projects.models import Event, Project
from projects.services.credentials import reveal_credentials
from tests.factories import PASSWORD, EventFactory, provisioned_project
from tests.support.commands import run
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db
OWN = "maria's own"


def make_old(client: Client) -> None:
    """Make the session older than REVEAL_REAUTH_S."""
    session = client.session
    session["logged_in_at"] = time.time() - 901
    session.save()


@pytest.fixture
def project() -> Project:
    return provisioned_project(name="aaa")


@pytest.fixture
def client() -> Client:
    """A client of maria's with an old log-in."""
    client = log_in("view_project", "reveal_credentials")
    maria = User.objects.get(username="maria")
    maria.set_password(OWN)
    maria.save()
    client.force_login(maria)
    make_old(client)
    return client


def ask(client: Client, project: Project, **fields: str) -> str:
    answer = client.post(page("credentials", project.pk), {"reason": "debugging", **fields}, headers=HTMX)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.content.decode()


def is_recorded(project: Project) -> bool:
    return project.events.filter(reason="CredentialsRevealed").exists()


def test_recent_log_in_needs_no_password(project):
    client = log_in("view_project", "reveal_credentials")
    assert 'name="password"' not in client.get(page("detail", project.pk)).content.decode()
    assert PASSWORD in ask(client, project)


def test_old_log_in_needs_the_password_once(client, project):
    assert 'name="password"' in client.get(page("detail", project.pk)).content.decode()
    shown = ask(client, project)
    assert "Confirm your password to continue." in shown
    assert PASSWORD not in shown
    assert not is_recorded(project)
    before = client.session.session_key
    shown = ask(client, project, password=OWN)
    assert PASSWORD in shown
    assert is_recorded(project)
    assert client.session.session_key != before
    assert PASSWORD in ask(client, project)


@pytest.mark.parametrize("password", ["wrong", f"{OWN} ", "", "x" * 5000])
def test_wrong_password_reveals_nothing_and_counts_as_failed_log_in(client, project, password):
    from django.contrib.auth.signals import user_login_failed

    failed = []
    receiver = lambda **event: failed.append(event["credentials"]["username"])  # noqa: E731
    user_login_failed.connect(receiver)
    shown = ask(client, project, password=password)
    user_login_failed.disconnect(receiver)
    assert PASSWORD not in shown
    assert not is_recorded(project)
    assert failed == (["maria"] if password else [])
    assert OWN not in shown


def test_session_without_time_or_from_the_future_counts_as_old(client, project):
    for at in (None, "soon", time.time() + 86_400):
        session = client.session
        session["logged_in_at"] = at
        session.save()
        assert PASSWORD not in ask(client, project)


def test_zero_always_asks_for_the_password(client, project, settings):
    settings.REVEAL_REAUTH_S = 0
    for _ in range(2):
        assert PASSWORD not in ask(client, project)
        assert PASSWORD in ask(client, project, password=OWN)


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_user_without_password_logs_in_again(client, project, headers):
    maria = User.objects.get(username="maria")
    maria.set_unusable_password()
    maria.save()
    client.force_login(maria)
    make_old(client)
    assert "data-needs-log-in" in client.get(page("detail", project.pk)).content.decode()
    answer = client.post(page("credentials", project.pk), {"reason": "debugging"}, headers=headers)
    to = answer.headers.get("HX-Redirect") or answer.headers["Location"]
    assert to == f"{reverse('admin:login')}?next={project.get_absolute_url()}"
    assert "_auth_user_id" not in client.session
    client.force_login(maria)
    assert PASSWORD in ask(client, project)


def test_event_of_a_reveal_can_not_be_changed_or_deleted(project, admin):
    reveal_credentials(project, actor="maria", reason="debugging")
    event = project.events.get(reason="CredentialsRevealed")
    for name in ("change", "delete"):
        url = reverse(f"admin:projects_event_{name}", args=[event.pk])
        assert admin.post(url, {"message": "nothing happened", "post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": str(event.pk), "post": "yes"}
    admin.post(reverse("admin:projects_event_changelist"), selected)
    event.message = "nothing happened"
    for change in (
        event.save,
        event.delete,
        Event.objects.all().delete,
        project.events.all().delete,
        lambda: Event.objects.update(actor="nobody"),
    ):
        with pytest.raises(Exception, match="can't be changed or deleted"):
            change()
    with pytest.raises(ProtectedError):
        project.delete()
    with pytest.raises(ProtectedError):
        Project.objects.all().delete()
    event.refresh_from_db()
    assert event.message == "maria revealed the credentials: debugging"


def test_event_outlives_its_user_even_one_named_like_the_panel(project, admin):
    panel = User.objects.create_user("panel")
    reveal_credentials(project, actor="panel", reason="debugging")
    panel.delete()
    long_ago = Event.objects.get(reason="CredentialsRevealed").at.replace(year=2020)
    EventFactory.create(project=project, actor="panel", reason="CredentialsRevealed", at=long_ago)
    EventFactory.create(project=project, actor="panel", by_panel=True, at=long_ago)
    assert "Deleted 1 events" in run("prune_events").out
    assert project.events.filter(reason="CredentialsRevealed").count() == 2
