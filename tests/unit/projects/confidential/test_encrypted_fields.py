"""Encrypted fields: encrypted with the first key, decrypted with any, and never shown by accident."""

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import reverse

from projects.confidential import keyring
from projects.confidential.encrypted_fields import EncryptedText, UndecryptableValueError
from projects.models import ProjectVariable
from projects.services.provisioning import add_project

pytestmark = pytest.mark.django_db
CANARY = "canary-9f8e7d"


@pytest.fixture
def variable():
    project = add_project("aaa", actor="tester")
    return ProjectVariable.objects.create(project=project, name="TOKEN", value=EncryptedText.of(CANARY))


def test_stored_value_is_encrypted(variable):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM projects_projectvariable")
        stored = cursor.fetchone()[0]
    assert CANARY not in stored
    assert ProjectVariable.objects.get().value.reveal() == CANARY


def test_text_and_serialization_hide_the_value(variable):
    value = ProjectVariable.objects.get().value
    for shown in (str(value), repr(value), f"{value}", serializers.serialize("json", [variable])):
        assert CANARY not in shown


def test_export_can_be_imported(variable):
    exported = serializers.serialize("json", [variable])
    variable.delete()
    next(iter(serializers.deserialize("json", exported))).save()
    assert ProjectVariable.objects.get().value.reveal() == CANARY


def test_plain_text_is_refused(variable):
    variable.value = CANARY
    with pytest.raises(TypeError) as caught:
        variable.save()
    assert CANARY not in str(caught.value)


def test_first_key_encrypts_and_older_keys_decrypt(variable, settings):
    old = list(keyring.current().keys)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *old]
    assert ProjectVariable.objects.get().value.reveal() == CANARY
    new = EncryptedText.of("other")
    settings.ENCRYPTION_KEYS = old
    with pytest.raises(UndecryptableValueError):
        new.reveal()


def test_missing_key_is_explained(variable, settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(UndecryptableValueError, match="ENCRYPTION_KEYS"):
        ProjectVariable.objects.get().value.reveal()


def test_invalid_key_is_explained(settings):
    settings.ENCRYPTION_KEYS = ["not-a-key"]
    with pytest.raises(ImproperlyConfigured, match="generate_key"):
        EncryptedText.of("x")


def test_tampered_ciphertext_is_refused(variable):
    ProjectVariable.objects.update(value=EncryptedText("plain"))
    with pytest.raises(UndecryptableValueError):
        ProjectVariable.objects.get().value.reveal()


def test_invalid_key_answers_503_with_a_remedy(variable, settings):
    admin = Client()
    admin.force_login(User.objects.create_superuser("root"))
    settings.ENCRYPTION_KEYS = ["not-a-key"]
    form = {
        "name": "aaa",
        "variables-TOTAL_FORMS": "1",
        "variables-INITIAL_FORMS": "0",
        "variables-0-name": "NEW",
        "variables-0-value": CANARY,
    }
    answer = admin.post(reverse("admin:projects_project_change", args=[variable.project_id]), form)
    assert answer.status_code == 503
    assert "not a Fernet key" in answer.content.decode()
    assert CANARY not in answer.content.decode()
