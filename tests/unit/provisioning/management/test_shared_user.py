"""Whose projects run on an embedded cluster where sandboxes and databases share the panel's user."""

import os

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from projects.models import Project
from provisioning.management import shared_user
from provisioning.objects.names import PROJECT_ID_LABEL, owner_labels
from tests.factories import ProjectFactory

pytestmark = pytest.mark.django_db


def labels_of(project: Project) -> dict[str, str]:
    return owner_labels(project.kubernetes_name, project.uid)


def test_project_of_another_user_is_refused_with_the_way_out():
    project = ProjectFactory.create(owner=User.objects.create_user("maria"))
    said = shared_user.explain_refusal(labels_of(project))
    for part in ("project of maria", "doesn't run as root", "make a superuser", "DEVCLUSTER_SHARED_UID=allow"):
        assert part in said


def test_owner_counts_when_it_is_asked_for():
    project = ProjectFactory.create(owner=User.objects.create_superuser("root"))
    assert shared_user.explain_refusal(labels_of(project)) == ""
    Project.objects.filter(pk=project.pk).update(owner=User.objects.create_user("maria"))
    assert shared_user.explain_refusal(labels_of(project)) != ""
    Project.objects.filter(pk=project.pk).update(owner=None)
    assert shared_user.explain_refusal(labels_of(project)) == ""


@pytest.mark.parametrize("label", [None, "", "not-a-uid", "6b2f6b16-3c5f-4f0e-8d7d-0d6f6e2b5a11"])
def test_object_of_no_project_runs(label):
    assert shared_user.explain_refusal({} if label is None else {PROJECT_ID_LABEL: label}) == ""


def test_unknown_owner_is_refused(monkeypatch):
    def fail(*_: object) -> None:
        raise DatabaseError("disk I/O error")

    project = ProjectFactory.create()
    monkeypatch.setattr(Project.objects, "select_related", fail)
    assert "can't read the owner" in shared_user.explain_refusal(labels_of(project))


@pytest.mark.parametrize(("user", "is_embedded", "expected"), [(0, True, False), (7, True, True), (7, False, False)])
def test_user_is_shared_where_the_panel_starts_the_cluster_without_root(
    monkeypatch, settings, user, is_embedded, expected
):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    settings.EMBEDDED_CLUSTER = is_embedded
    assert shared_user.is_shared() is expected


@pytest.mark.parametrize(
    ("setting", "said"), [("allow", "projects of all users"), ("refuse", "only projects of super")]
)
def test_start_says_what_a_shared_user_means(settings, setting, said):
    settings.DEVCLUSTER_SHARED_UID = setting
    assert said in shared_user.explain_shared_user()
