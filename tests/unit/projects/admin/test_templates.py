"""Sandbox templates in the admin: validation, updates of running projects, permissions."""

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from projects.models import Project, SandboxTemplate
from tests.factories import ProjectFactory, UserFactory
from tests.support.pages import edit, log_in, page

pytestmark = pytest.mark.django_db

LIST = "admin:projects_sandboxtemplate_changelist"
CHANGE = "admin:projects_sandboxtemplate_change"
VALUES = {
    "name": "node",
    "image": "example.org/node:22",
    "ports": "app:3000",
    "cpu": "500m",
    "memory": "512Mi",
    "storage": "10Gi",
}


@pytest.fixture
def template() -> SandboxTemplate:
    return SandboxTemplate.objects.create(**VALUES)


def test_added_template_is_listed_with_its_number_of_projects(admin: Client):
    assert admin.post(reverse("admin:projects_sandboxtemplate_add"), VALUES).status_code == 302
    template = SandboxTemplate.objects.get()
    ProjectFactory.create(template=template)
    ProjectFactory.create(template=template, deleted=True)
    (row,) = admin.get(reverse(LIST)).context["cl"].result_list
    assert (row.name, row.project_count) == ("node", 1)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("image", "bad image", "Not a valid image reference"),
        ("image", "example.org/Node:22", "Not a valid image reference"),
        ("image", "example.org/node:22@sha256:abc", "Not a valid image reference"),
        ("ports", "app", "is not a port"),
        ("ports", "app:99999", "Choose one from 1 to 65535"),
        ("memory", "a lot", "Enter a Kubernetes quantity"),
        ("command", "sh -c 'oops", "Unclosed quotation mark."),
        ("domain", "Not A Domain", "Enter a domain in lower case"),
        ("readiness_path", "healthz", "Enter a path that starts with a slash"),
    ],
)
def test_invalid_template_shows_an_error(admin: Client, field: str, value: str, error: str):
    response = admin.post(reverse("admin:projects_sandboxtemplate_add"), {**VALUES, field: value})
    assert response.status_code == 200
    assert error in response.content.decode()
    assert not SandboxTemplate.objects.exists()


def test_tls_secret_and_issuer_are_mutually_exclusive(admin: Client):
    both = {**VALUES, "domain": "example.org", "tls_secret": "wildcard-tls", "cluster_issuer": "letsencrypt"}
    response = admin.post(reverse("admin:projects_sandboxtemplate_add"), both)
    assert response.context["adminform"].form.has_error("cluster_issuer")
    assert not SandboxTemplate.objects.exists()
    assert admin.post(reverse("admin:projects_sandboxtemplate_add"), {**both, "tls_secret": ""}).status_code == 302


@pytest.mark.parametrize(
    "image",
    [
        "node",
        "node:22",
        "team/node",
        "localhost:5000/team/app_1:V1.2-rc",
        f"Registry.example.org/a/b@sha256:{'a' * 64}",
    ],
)
def test_image_reference_is_valid(image: str):
    SandboxTemplate(**{**VALUES, "image": image}).full_clean()


def test_change_enqueues_a_pass_for_running_projects(admin: Client, template: SandboxTemplate):
    running = ProjectFactory.create(template=template, running=True)
    ProjectFactory.create(template=template)
    ProjectFactory.create(running=True)
    url = reverse(CHANGE, args=[template.pk])
    edit(admin, url, {**VALUES, "description": "Only words"})
    assert not OrmQ.objects.exists()
    edit(admin, url, {**VALUES, "image": "example.org/node:24"})
    assert [task.task["args"] for task in OrmQ.objects.all()] == [(running.pk,)]


def test_template_in_use_is_not_deleted(admin: Client, template: SandboxTemplate):
    project = ProjectFactory.create(template=template)
    url = reverse("admin:projects_sandboxtemplate_delete", args=[template.pk])
    admin.post(url, {"post": "yes"})
    assert SandboxTemplate.objects.filter(pk=template.pk).exists()
    Project.objects.filter(pk=project.pk).update(template=None)
    admin.post(url, {"post": "yes"})
    assert not SandboxTemplate.objects.filter(pk=template.pk).exists()


def test_list_needs_view_sandboxtemplate():
    client = Client()
    client.force_login(UserFactory.create(permissions=["view_project"]))
    assert client.get(reverse(LIST)).status_code == 403
    client.force_login(UserFactory.create(permissions=["view_project", "view_sandboxtemplate"]))
    assert client.get(reverse(LIST)).status_code == 200


def test_add_page_offers_templates_if_there_are_any():
    client = log_in("view_project", "add_project")
    assert "template" not in client.get(page("add")).context["form"].fields
    template = SandboxTemplate.objects.create(**VALUES)
    client.post(page("add"), {"name": "aaa", "template": template.pk})
    assert Project.objects.get().template == template
