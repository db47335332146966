"""Masked and revealed credentials, and the refresh of pages."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.domain.states import Phase
from projects.models import Project
from tests.factories import (
    PASSWORD,
    DatabaseFactory,
    EventFactory,
    ProjectFactory,
    SandboxFactory,
    provisioned_project,
)
from tests.support.pages import HTMX, log_in, page

pytestmark = pytest.mark.django_db

# --- Credentials -----------------------------------------------------------------------------------------------


def test_password_appears_only_in_a_reveal():
    project = provisioned_project(name="aaa")
    client = log_in("view_project", "reveal_credentials", "provision_project", "delete_project")
    for url in (
        page("list"),
        page("detail", project.pk),
        page("status", project.pk),
        page("credentials", project.pk),
        page("delete", project.pk),
    ):
        body = client.get(url).content.decode()
        assert PASSWORD not in body, url
        assert "canary" not in body, url
    assert "••••••" in client.get(page("detail", project.pk)).content.decode()


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_reveal_shows_the_url_and_records_user_and_reason(headers):
    project = provisioned_project(name="aaa")
    client = log_in("view_project", "reveal_credentials")
    response = client.post(page("credentials", project.pk), {"reason": "debugging"}, headers=headers)
    body = response.content.decode()
    assert "postgresql://postgres:canary-Pa55%2Fword%40of%3Athe%3Fdatabase@10.0.0.7:5432/postgres" in body
    assert PASSWORD in body
    assert response.headers["Cache-Control"] == "no-store"
    event = project.events.get(reason="CredentialsRevealed")
    assert event.message == "maria revealed the credentials: debugging"
    assert "canary" not in event.message


def test_reveal_without_a_reason_is_refused():
    project = provisioned_project()
    response = log_in("view_project", "reveal_credentials").post(
        page("credentials", project.pk), {"reason": " "}, headers=HTMX
    )
    assert response.context["reveal_form"].has_error("reason", "required")
    assert "canary" not in response.content.decode()
    assert not project.events.filter(reason="CredentialsRevealed").exists()


def test_reveal_before_capture_is_refused():
    database = DatabaseFactory.create()
    response = log_in("view_project", "reveal_credentials").post(
        page("credentials", database.project.pk), {"reason": "debugging"}, headers=HTMX
    )
    assert response.status_code == 200
    assert response.context["reveal_form"].has_error("reason")
    assert "connection" not in response.context


def test_reveal_with_a_missing_key_is_refused(settings):
    project = provisioned_project()
    settings.ENCRYPTION_KEYS = ["Yk9PbXlOZXdLZXlPZlRoaXJ0eVR3b0J5dGVzTG9uZyE="]
    response = log_in("view_project", "reveal_credentials").post(
        page("credentials", project.pk), {"reason": "debugging"}, headers=HTMX
    )
    assert response.status_code == 200
    assert "its key is not among ENCRYPTION_KEYS" in response.content.decode()


def test_default_credentials_are_marked_and_never_revealed():
    project = ProjectFactory.create(waiting=True, name="aaa")
    DatabaseFactory.create(project=project)
    SandboxFactory.create(project=project, credentials="default")
    client = log_in("view_project", "reveal_credentials")
    assert "Default credentials." in client.get(page("detail", project.pk)).content.decode()
    assert "default credentials" in client.get(page("list")).content.decode()
    response = client.post(page("credentials", project.pk), {"reason": "debugging"}, headers=HTMX)
    assert response.context["reveal_form"].has_error("reason")
    assert "connection" not in response.context


# --- Refreshing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("traits", "polls"),
    [
        ({}, False),
        ({"waiting": True}, True),
        ({"running": True}, False),
        ({"failed": True}, False),
        ({"deleted": True}, False),
        ({"running": True, "wanted_generation": 2}, True),
    ],
)
def test_pages_poll_often_until_settled_and_then_rarely(traits, polls):
    project = ProjectFactory.create(**traits)
    client = log_in("view_project")
    for url in (page("list") + "?phase=" + project.phase, page("detail", project.pk), page("status", project.pk)):
        assert (
            f"every {'1500ms' if polls else '15s'} [!document.hidden]" in client.get(url, headers=HTMX).content.decode()
        )


def refresh_url(body: str, part: str) -> str:
    """Return the URL that the fragment `part` requests next."""
    fragment = body[body.index(f'id="{part}"') :]
    return fragment.split('hx-get="', 1)[1].split('"', 1)[0].replace("&amp;", "&")


def test_refresh_of_an_unchanged_project_is_empty():
    database = DatabaseFactory.create(project__name="aaa")
    project = database.project
    client = log_in("view_project")
    url = refresh_url(client.get(page("detail", project.pk)).content.decode(), "project-status")
    assert client.get(url, headers=HTMX).status_code == 204

    Project.objects.filter(pk=project.pk).update(message="The Secret is still missing.")
    response = client.get(url, headers=HTMX)
    assert response.status_code == 200
    assert "The Secret is still missing." in response.content.decode()

    url = refresh_url(response.content.decode(), "project-status")
    assert client.get(url, headers=HTMX).status_code == 204
    EventFactory.create(project=project, message="A new line of the timeline.")
    assert "A new line of the timeline." in client.get(url, headers=HTMX).content.decode()


def test_scheduling_fields_change_no_page():
    project = ProjectFactory.create(waiting=True)
    client = log_in("view_project")
    url = refresh_url(client.get(page("detail", project.pk)).content.decode(), "project-status")
    now = timezone.now()
    Project.objects.filter(pk=project.pk).update(next_pass_at=now, queued_at=now, lease_until=now, failures=3)
    assert client.get(url, headers=HTMX).status_code == 204


def test_refresh_of_an_unchanged_list_is_empty():
    project = ProjectFactory.create(waiting=True)
    client = log_in("view_project")
    url = page("list") + refresh_url(client.get(page("list")).content.decode(), "project-list")
    assert client.get(url, headers=HTMX).status_code == 204
    Project.objects.filter(pk=project.pk).update(phase=Phase.RUNNING)
    assert "RUNNING" in client.get(url, headers=HTMX).content.decode().upper()


def test_credentials_card_is_fetched_again_after_capture():
    database = DatabaseFactory.create()
    client = log_in("view_project")
    url = refresh_url(client.get(page("detail", database.project.pk)).content.decode(), "project-status")
    type(database).objects.filter(pk=database.pk).update(captured_at=timezone.now())
    response = client.get(url, headers=HTMX)
    assert response.headers["HX-Trigger"] == '{"credentials-captured": {}}'
    url = refresh_url(response.content.decode(), "project-status")
    EventFactory.create(project=database.project)
    assert "HX-Trigger" not in client.get(url, headers=HTMX).headers


def test_refresh_excludes_the_credentials_card():
    project = provisioned_project()
    body = log_in("view_project", "reveal_credentials").get(page("status", project.pk), headers=HTMX).content.decode()
    assert 'id="credentials"' not in body
    assert 'id="events"' in body


def test_wait_shows_start_and_deadline(settings):
    settings.READY_TIMEOUT_S = 120
    now = timezone.now()
    database = DatabaseFactory.create(requested_at=now - timedelta(minutes=9), deadline=now + timedelta(seconds=86))
    body = log_in("view_project").get(page("detail", database.project.pk)).content.decode()
    assert f'data-deadline="{(now + timedelta(seconds=86)).isoformat()}"' in body
    assert f'data-since="{(now - timedelta(seconds=34)).isoformat()}"' in body
    assert "Times out after 120 s." in body


def test_caches_tell_a_page_from_its_fragment():
    client = log_in("view_project")
    assert "HX-Request" in client.get(page("list")).headers["Vary"]
    assert "<html" not in client.get(page("list"), headers=HTMX).content.decode()
    restored = client.get(page("list"), headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert "<html" in restored.content.decode()
