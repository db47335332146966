"""Projects are in allowed namespaces only, however the namespace is given."""

from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from projects.domain.request_policy import Request, find_refusal
from projects.domain.states import DesiredState, Phase
from projects.models import FoundCluster, Project
from projects.services.adoption import Adoptable, request_adopt, request_adopt_for_new
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry
from provisioning.inventory.clusters import watched_namespaces
from tests.factories import ProjectFactory, UserFactory, provisioned_project
from tests.support.pages import edit, log_in, page

pytestmark = pytest.mark.django_db

SENTENCE = (
    "The namespace kube-system is not allowed for projects. Allowed: default. ALLOWED_NAMESPACES adds further ones."
)


def test_page_that_adds_a_project_refuses(client):
    answer = log_in("add_project").post(page("add"), {"name": "aaa", "namespace": "kube-system"})
    assert answer.context["form"].errors == {"namespace": [SENTENCE]}
    assert not Project.objects.exists()


def test_admin_refuses_to_add(admin: Client):
    rows = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}
    answer = admin.post(reverse("admin:projects_project_add"), {**rows, "name": "aaa", "namespace": "kube-system"})
    assert answer.context["adminform"].form.errors == {"namespace": [SENTENCE]}


def test_admin_refuses_to_move_a_project(admin: Client):
    project = ProjectFactory.create()
    rows = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0"}
    answer = edit(
        admin, reverse("admin:projects_project_change", args=[project.pk]), {**rows, "namespace": "kube-system"}
    )
    assert answer.context["adminform"].form.errors == {"namespace": [SENTENCE]}


def test_command_and_service_refuse(settings):
    with pytest.raises(ValidationError, match="not allowed for projects"):
        add_project("aaa", actor="me", namespace="kube-system")
    settings.ALLOWED_NAMESPACES = ["team-a"]
    assert add_project("aaa", actor="me", namespace="team-a").namespace == "team-a"
    assert add_project("bbb", actor="me").namespace == "default"


def test_adoption_is_refused_in_other_namespaces(settings):
    cluster = Adoptable("kube-system", "pg", "uid", "apps.kubeblocks.io/v1")
    with pytest.raises(ValidationError, match="not allowed for projects"):
        request_adopt_for_new("aaa", cluster, actor="me")
    project = ProjectFactory.create(namespace="kube-system")
    outcome = request_adopt(project, cluster, actor="me")
    assert (outcome.accepted, outcome.reason) == (False, "NamespaceNotAllowed")


def test_adoption_page_explains_the_refusal(admin: Client):
    cluster = FoundCluster.objects.create(
        namespace="kube-system", name="pg", uid="u", api_version="apps.kubeblocks.io/v1", seen_at="2026-11-29T00:00Z"
    )
    answer = admin.post(reverse("admin:projects_foundcluster_adopt", args=[cluster.pk]), {"name": "aaa"})
    assert SENTENCE in answer.content.decode()
    assert not Project.objects.exists()


@pytest.mark.parametrize("request_it", [request_provision, request_retry, request_password_rotation])
def test_project_of_a_namespace_that_is_no_longer_allowed_changes_nothing(request_it):
    project = provisioned_project(namespace="kube-system")
    outcome = request_it(project, actor="me")
    assert not outcome.accepted
    assert SENTENCE in outcome.message
    assert "Press Delete" in outcome.message


def test_such_a_project_can_be_looked_at_edited_and_deleted(admin: Client):
    project = provisioned_project(namespace="kube-system")
    body = admin.get(project.get_absolute_url()).content.decode()
    assert SENTENCE in body
    assert 'data-next-action="delete"' in body
    rows = {"variables-TOTAL_FORMS": "0", "variables-INITIAL_FORMS": "0", "description": "kept"}
    assert edit(admin, reverse("admin:projects_project_change", args=[project.pk]), rows).status_code == 302
    assert request_delete(project, actor="me").accepted
    project.refresh_from_db()
    assert (project.desired_state, project.description) == (DesiredState.DELETED, "kept")
    assert find_refusal(Request.RETRY, project) is None, "a deletion is repeated"


def test_command_is_refused_before_it_changes_anything():
    ProjectFactory.create(name="aaa", namespace="kube-system")
    with pytest.raises(CommandError, match="not allowed for projects"):
        call_command("provision", "aaa", stdout=StringIO())
    assert Project.objects.get().phase == Phase.NEW


def test_inventory_looks_into_allowed_namespaces(settings):
    settings.ALLOWED_NAMESPACES = ["team-a"]
    ProjectFactory.create(namespace="former")
    assert watched_namespaces() == ["default", "former", "team-a"]


def test_forms_name_the_allowed_namespaces(settings, admin: Client):
    settings.ALLOWED_NAMESPACES = ["team-a"]
    for url in (page("add"), reverse("admin:projects_project_add")):
        assert "Allowed: default, team-a." in admin.get(url).content.decode()
    assert UserFactory.create().pk
