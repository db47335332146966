"""Whoever reveals a password has proved lately who they are, and leaves an event that nobody can take back."""

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
    """Let the time pass after which a log-in counts as old."""
    session = client.session
    session["logged_in_at"] = time.time() - 901
    session.save()


@pytest.fixture
def project() -> Project:
    return provisioned_project(name="aaa")


@pytest.fixture
def client() -> Client:
    """Maria, who logged in a while ago."""
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


def test_a_fresh_log_in_is_not_asked_again(project):
    client = log_in("view_project", "reveal_credentials")
    assert 'name="password"' not in client.get(page("detail", project.pk)).content.decode()
    assert PASSWORD in ask(client, project)


def test_an_old_log_in_takes_the_password_and_is_fresh_then(client, project):
    assert 'name="password"' in client.get(page("detail", project.pk)).content.decode()
    shown = ask(client, project)
    assert "type your own password" in shown
    assert PASSWORD not in shown
    assert not is_recorded(project)
    before = client.session.session_key
    shown = ask(client, project, password=OWN)
    assert PASSWORD in shown
    assert is_recorded(project)
    assert client.session.session_key != before
    assert PASSWORD in ask(client, project)


@pytest.mark.parametrize("password", ["wrong", f"{OWN} ", "", "x" * 5000])
def test_a_wrong_password_reveals_nothing_and_counts_as_a_failed_log_in(client, project, password):
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


def test_a_session_that_does_not_say_when_or_says_tomorrow_counts_as_old(client, project):
    for at in (None, "soon", time.time() + 86_400):
        session = client.session
        session["logged_in_at"] = at
        session.save()
        assert PASSWORD not in ask(client, project)


def test_zero_asks_each_time(client, project, settings):
    settings.REVEAL_REAUTH_S = 0
    for _ in range(2):
        assert PASSWORD not in ask(client, project)
        assert PASSWORD in ask(client, project, password=OWN)


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_who_has_no_password_logs_in_again(client, project, headers):
    maria = User.objects.get(username="maria")
    maria.set_unusable_password()
    maria.save()
    client.force_login(maria)
    make_old(client)
    assert "asked to log in again" in client.get(page("detail", project.pk)).content.decode()
    answer = client.post(page("credentials", project.pk), {"reason": "debugging"}, headers=headers)
    to = answer.headers.get("HX-Redirect") or answer.headers["Location"]
    assert to == f"{reverse('admin:login')}?next={project.get_absolute_url()}"
    assert "_auth_user_id" not in client.session
    client.force_login(maria)
    assert PASSWORD in ask(client, project)


def test_nothing_in_the_panel_changes_or_deletes_the_event(project, admin):
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
        with pytest.raises(Exception, match="never changed or deleted"):
            change()
    with pytest.raises(ProtectedError):
        project.delete()
    with pytest.raises(ProtectedError):
        Project.objects.all().delete()
    event.refresh_from_db()
    assert event.message == "maria revealed the credentials: debugging"


def test_a_user_who_is_gone_or_called_like_the_panel_leaves_it_all_the_same(project, admin):
    panel = User.objects.create_user("panel")
    reveal_credentials(project, actor="panel", reason="debugging")
    panel.delete()
    long_ago = Event.objects.get(reason="CredentialsRevealed").at.replace(year=2020)
    EventFactory.create(project=project, actor="panel", reason="CredentialsRevealed", at=long_ago)
    EventFactory.create(project=project, actor="panel", by_panel=True, at=long_ago)
    assert "Removed 1 events" in run("prune_events").out
    assert project.events.filter(reason="CredentialsRevealed").count() == 2
