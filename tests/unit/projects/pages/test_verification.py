"""When the credentials were last verified, as the project's page says it, and the requests about them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from projects.domain.states import ReplacementChoice
from projects.models import Project
from tests.factories import provisioned_project
from tests.support.html import text_of
from tests.support.pages import log_in, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    return log_in("view_project", "provision_project")


def shown(client, project: Project) -> str:
    return text_of(client.get(page("detail", project.pk)).content.decode())


def with_database(**fields: object) -> Project:
    project = provisioned_project(name="shop")
    project.databases.update(**fields)
    return project


def test_page_says_when_the_credentials_were_last_verified(client):
    project = with_database(proved_at=timezone.now() - timedelta(minutes=5))
    assert "Last verified 5 min ago" in shown(client, project)


def test_failed_proof_is_never_called_verified(client):
    note = "The database at 10.0.0.7:5432 does not accept the captured user and password."
    project = with_database(verified_at=None, proved_at=timezone.now() - timedelta(hours=2), verification_note=note)
    response = client.get(page("detail", project.pk)).content.decode()
    assert f"{note} Last verified 2 h ago" in text_of(response)
    assert 'data-verified="no"' in response
    step = next(step for step in Project.objects.get(pk=project.pk).steps() if step.step == "connection_verified")
    assert (step.at, step.note) == (None, note)


def test_credentials_are_not_verified_during_a_rotation(client):
    project = with_database(rotation_requested_at=timezone.now(), rotation_begun_at=timezone.now())
    response = client.get(page("detail", project.pk)).content.decode()
    assert "Not verified while the password is being changed." in text_of(response)
    assert 'data-verified="no"' in response
    assert not Project.objects.get(pk=project.pk).database.is_verified


def test_verify_needs_permission_and_verified_connections(client, settings):
    project = with_database()
    assert f'action="{page("verify", project.pk)}"' in client.get(page("detail", project.pk)).content.decode()
    client.post(page("verify", project.pk))
    assert Project.objects.get(pk=project.pk).database.verification_requested_at is not None
    assert project.events.get(reason="VerificationRequested").actor == "maria"
    settings.VERIFY_CONNECTIONS = False
    assert page("verify", project.pk) not in client.get(page("detail", project.pk)).content.decode()
    refused = client.post(page("verify", project.pk), follow=True)
    assert "VERIFY_CONNECTIONS is false" in refused.content.decode()


def test_choice_of_a_password_is_offered_only_for_a_replaced_secret(client):
    project = with_database()
    for name in ("restore_secret", "use_secret"):
        assert page(name, project.pk) not in client.get(page("detail", project.pk)).content.decode()
        assert client.get(page(name, project.pk)).context["refusal"].reason == "SecretInOrder"


@pytest.mark.parametrize(
    ("name", "choice", "words"),
    [
        ("restore_secret", ReplacementChoice.RESTORE, "Write the verified password back"),
        ("use_secret", ReplacementChoice.USE, "the server has the password of the Secret"),
    ],
)
def test_choice_of_a_password_is_confirmed_and_saved(client, name, choice, words):
    project = with_database(secret_replaced_at=timezone.now())
    assert page(name, project.pk) in client.get(page("detail", project.pk)).content.decode()
    asked = client.get(page(name, project.pk))
    assert asked.context["refusal"] is None
    assert words in text_of(asked.content.decode())
    client.post(page(name, project.pk))
    assert Project.objects.get(pk=project.pk).database.replacement_choice == choice


def test_rotation_says_beforehand_what_needs_a_restart(client):
    project = with_database()
    asked = text_of(client.get(page("rotate_password", project.pk)).content.decode())
    for word in ("6432", "exporter", "replicas", "standby", "OpsRequest of type Restart"):
        assert word in asked
