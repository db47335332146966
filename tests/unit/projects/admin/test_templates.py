"""Sandbox templates in the admin: what can't be used gets a sentence, a change reaches the running projects."""

import pytest
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ

from projects.models import Project, SandboxTemplate
from tests.factories import ProjectFactory, UserFactory
from tests.support.pages import log_in, page

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


def test_a_template_is_added_and_listed_with_its_projects(admin: Client):
    assert admin.post(reverse("admin:projects_sandboxtemplate_add"), VALUES).status_code == 302
    template = SandboxTemplate.objects.get()
    ProjectFactory.create(template=template)
    ProjectFactory.create(template=template, deleted=True)
    (row,) = admin.get(reverse(LIST)).context["cl"].result_list
    assert (row.name, row.project_count) == ("node", 1)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("image", "bad image", "This is no image"),
        ("image", "example.org/Node:22", "This is no image"),
        ("image", "example.org/node:22@sha256:abc", "This is no image"),
        ("ports", "app", "is not a port"),
        ("ports", "app:99999", "Choose one from 1 to 65535"),
        ("memory", "a lot", "Write an amount as Kubernetes does"),
        ("command", "sh -c 'oops", "A quotation mark is open"),
        ("domain", "Not A Domain", "A domain has lower-case letters"),
        ("readiness_path", "healthz", "A path starts with a slash"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(admin: Client, field: str, value: str, sentence: str):
    response = admin.post(reverse("admin:projects_sandboxtemplate_add"), {**VALUES, field: value})
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert not SandboxTemplate.objects.exists()


def test_a_wildcard_and_an_issuer_exclude_each_other(admin: Client):
    both = {**VALUES, "domain": "example.org", "tls_secret": "wildcard-tls", "cluster_issuer": "letsencrypt"}
    response = admin.post(reverse("admin:projects_sandboxtemplate_add"), both)
    assert "Give one of the two" in response.content.decode()
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
def test_what_names_an_image_is_taken(image: str):
    SandboxTemplate(**{**VALUES, "image": image}).full_clean()


def test_a_change_gives_a_pass_to_the_running_projects_that_use_it(admin: Client, template: SandboxTemplate):
    running = ProjectFactory.create(template=template, running=True)
    ProjectFactory.create(template=template)
    ProjectFactory.create(running=True)
    url = reverse(CHANGE, args=[template.pk])
    admin.post(url, {**VALUES, "description": "Only words"})
    assert not OrmQ.objects.exists()
    admin.post(url, {**VALUES, "image": "example.org/node:24"})
    assert [task.task["args"] for task in OrmQ.objects.all()] == [(running.pk,)]


def test_a_template_in_use_is_not_deleted(admin: Client, template: SandboxTemplate):
    project = ProjectFactory.create(template=template)
    url = reverse("admin:projects_sandboxtemplate_delete", args=[template.pk])
    admin.post(url, {"post": "yes"})
    assert SandboxTemplate.objects.filter(pk=template.pk).exists()
    Project.objects.filter(pk=project.pk).update(template=None)
    admin.post(url, {"post": "yes"})
    assert not SandboxTemplate.objects.filter(pk=template.pk).exists()


def test_only_those_who_may_see_templates():
    client = Client()
    client.force_login(UserFactory.create(permissions=["view_project"]))
    assert client.get(reverse(LIST)).status_code == 403
    client.force_login(UserFactory.create(permissions=["view_project", "view_sandboxtemplate"]))
    assert client.get(reverse(LIST)).status_code == 200


def test_the_add_page_offers_templates_where_there_are_any():
    client = log_in("view_project", "add_project")
    assert "template" not in client.get(page("add")).context["form"].fields
    template = SandboxTemplate.objects.create(**VALUES)
    client.post(page("add"), {"name": "aaa", "template": template.pk})
    assert Project.objects.get().template == template
