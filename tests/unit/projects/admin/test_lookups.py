"""Admin lists accept only their declared filters in the query string."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from projects.admin.base import DeclaredChangeList
from tests.factories import provisioned_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    ("row", "lookup"),
    [
        ("projects_databasecluster", "password__startswith=enc"),
        ("projects_databasecluster", "password__regex=(a%2B)%2Bb"),
        ("projects_databasecluster", "pending_password__contains=x"),
        ("projects_databasecluster", "object_uid__startswith=0"),
        ("projects_databasecluster", "project__uid__startswith=0"),
        ("projects_project", "uid__startswith=0"),
        ("projects_project", "lease_token__isnull=0"),
        ("projects_project", "owner__password__startswith=pbkdf2"),
        ("projects_project", "variables__value__regex=.*"),
        ("projects_project", "description__iregex=(x%2Bx%2B)%2By"),
        ("projects_sandbox", "environment_digest__gt=5"),
        ("projects_event", "project__databases__password__startswith=e"),
        ("auth_user", "password__startswith=md5"),
        ("auth_user", "email__regex=.*"),
        ("auth_group", "user__password__startswith=md5"),
        ("auditlog_logentry", "changes__icontains=secret"),
        ("django_q_ormq", "payload__startswith=x"),
        ("django_q_success", "args__contains=x"),
        ("projects_sandboxtemplate", "tls_secret__contains=x"),
    ],
)
def test_lookups_that_are_no_filter_are_refused(root, row, lookup):
    provisioned_project(name="aaa")
    assert root.get(reverse(f"admin:{row}_changelist") + f"?{lookup}").status_code == 400


@pytest.mark.parametrize(
    ("row", "lookup"),
    [
        ("projects_project", "phase=Running"),
        ("projects_project", "owner__id__exact=1"),
        ("projects_project", "desired_state__exact=running"),
        ("projects_databasecluster", "phase__exact=Running"),
        ("projects_event", "level__exact=info"),
        ("projects_event", "project__id__exact=1"),
        ("auth_user", "is_staff__exact=1"),
        ("auth_user", "groups__id__exact=1"),
    ],
)
def test_declared_filters_work(root, row, lookup):
    assert root.get(reverse(f"admin:{row}_changelist") + f"?{lookup}").status_code == 200


def test_every_admin_list_is_covered(rf):
    for model, model_admin in admin.site._registry.items():
        changelist = model_admin.get_changelist(rf.get("/"))
        assert issubclass(changelist, DeclaredChangeList), model
