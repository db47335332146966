"""Secrets of one project do not mask other people's records, and masking does not reveal whether a guess is right."""

import json
from io import StringIO
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from projects.confidential.redaction import MASK, redact, redact_all, redaction_scope, remember
from projects.models import Event
from projects.services.events import record_event
from tests.factories import ProjectFactory, provisioned_project
from tests.support.pages import edit, page

pytestmark = pytest.mark.django_db

GUESSED = "Tr0ub4dor-and-3"


def log_in(name: str) -> Client:
    client = Client(REMOTE_ADDR="203.0.113.7")
    client.force_login(User.objects.create_superuser(name))
    LogEntry.objects.all().delete()
    return client


def set_variable(client: Client, project, value: str) -> None:
    """Save a variable of the project in the admin's form."""
    data = {
        "namespace": project.namespace,
        "description": "",
        "variables-TOTAL_FORMS": "1",
        "variables-INITIAL_FORMS": "0",
        "variables-0-name": "SETTING",
        "variables-0-value": value,
        "variables-0-project": str(project.pk),
        "variables-0-id": "",
    }
    answer = edit(client, reverse("admin:projects_project_change", args=[project.pk]), data)
    assert answer.status_code == 302


def exported() -> list[dict[str, Any]]:
    out = StringIO()
    call_command("audit", stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("value", ["mallory-the-owner", "CredentialsRevealed", "203.0.113.7", "victim-project"])
def test_variable_masks_no_actor_action_address_or_name(value):
    client = log_in("mallory-the-owner")
    mine, theirs = ProjectFactory.create(name="mine"), provisioned_project(name="victim-project")
    set_variable(client, mine, value)
    client.post(page("credentials", theirs.pk), {"reason": "connecting psql"})
    reveal = exported()[-1]
    assert (reveal["who"], reveal["what"]) == ("mallory-the-owner", "CredentialsRevealed")
    assert (reveal["address"], reveal["name"]) == ("203.0.113.7", "victim-project")
    assert reveal["message"] == "mallory-the-owner revealed the credentials: connecting psql"


def test_variable_with_the_authors_name_keeps_the_author():
    client = log_in("mallory-the-owner")
    mine = ProjectFactory.create(name="mine")
    set_variable(client, mine, "mallory-the-owner")
    event = Event.objects.get(project=mine, reason="Changed")
    assert event.message.startswith("mallory-the-owner ")


def test_guessed_secret_of_another_project_is_not_masked():
    """The stranger's variable was held by this very process; a masked guess would be a right one."""
    client = log_in("mallory-the-owner")
    set_variable(client, ProjectFactory.create(name="theirs"), GUESSED)
    mine = provisioned_project(name="mine")
    client.post(page("credentials", mine.pk), {"reason": f"is it {GUESSED}"})
    event = Event.objects.get(project=mine, reason="CredentialsRevealed")
    assert event.message.endswith(f"is it {GUESSED}")
    assert exported()[-1]["message"].endswith(f"is it {GUESSED}")


def test_edited_description_confirms_no_guess():
    client = log_in("mallory-the-owner")
    set_variable(client, ProjectFactory.create(name="theirs"), GUESSED)
    mine = ProjectFactory.create(name="mine")
    data = {"namespace": "default", "description": GUESSED, "variables-TOTAL_FORMS": 0, "variables-INITIAL_FORMS": 0}
    edit(client, reverse("admin:projects_project_change", args=[mine.pk]), data)
    changes = next(line["changes"] for line in exported() if line["what"] == "Updated" and line["name"] == "mine")
    assert changes["description"] == ["", GUESSED]


def test_revealed_password_is_masked_in_its_event():
    client = log_in("root")
    project = provisioned_project(name="aaa")
    password = project.database.password.reveal()
    client.post(page("credentials", project.pk), {"reason": f"checking {password} once"})
    assert password not in Event.objects.get(reason="CredentialsRevealed").message
    assert password not in json.dumps(exported())


def test_passes_mask_secrets_of_earlier_passes():
    with redaction_scope("project 1"):
        remember(GUESSED)
    with redaction_scope("project 1"):
        assert redact(f"the server said {GUESSED}") == f"the server said {MASK}"
    with redaction_scope("project 2"):
        assert redact(f"the server said {GUESSED}") == f"the server said {GUESSED}"


def test_secrets_of_the_panel_are_masked_everywhere():
    remember("the-panel's-own-Key1", keep=True)
    with redaction_scope("project 3"):
        assert redact("with the-panel's-own-Key1") == f"with {MASK}"


def test_log_masks_all_secrets():
    with redaction_scope():
        remember("somebody's-Secret-9")
    with redaction_scope():
        assert redact_all("with somebody's-Secret-9") == f"with {MASK}"


def test_event_keeps_the_name_of_its_project():
    project = ProjectFactory.create(name="shared-Name-1")
    with redaction_scope():
        remember("shared-Name-1")
        event = record_event(project, actor="root", reason="Changed", message="root changed shared-Name-1.")
    event.refresh_from_db()
    assert event.message == "root changed shared-Name-1."
