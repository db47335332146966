"""Passes of a project whose encryption key is lost."""

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Phase, Reason
from projects.models import ProjectVariable
from projects.pages.presentation import next_action
from projects.services.provisioning import add_project, request_delete, request_provision
from tests.support.passes import follow, is_running

pytestmark = pytest.mark.django_db


def test_pass_without_the_key_reports_it_until_the_key_is_back(cluster, settings, unique_name):
    project = add_project(unique_name, actor="tester")
    ProjectVariable.objects.create(project=project, name="TOKEN", value=EncryptedText.of("s3cret"))
    request_provision(project, actor="tester")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    project = follow(project, lambda project: project.reason == Reason.KEY_MISSING)
    assert "Add the old key" in project.message
    action = next_action(project, User.objects.create_user("ann"))
    assert action is not None
    assert action.code in ("fix", "fix-and-retry")
    settings.ENCRYPTION_KEYS = []
    assert follow(project, is_running)


def test_project_can_be_deleted_without_the_key(cluster, settings, unique_name):
    project = add_project(unique_name, actor="tester")
    ProjectVariable.objects.create(project=project, name="TOKEN", value=EncryptedText.of("s3cret"))
    request_provision(project, actor="tester")
    project = follow(project, is_running)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    request_delete(project, actor="tester")
    assert follow(project, lambda project: project.phase == Phase.DELETED)
