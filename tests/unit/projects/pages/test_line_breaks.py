"""Values with line breaks, such as a pasted PEM, reach the sandbox byte for byte."""

import base64

import pytest
from django.test import Client
from django.urls import reverse

from projects.domain.connection import Connection
from projects.models import ProjectVariable, SandboxTemplate
from provisioning.objects.manifests import Owner, build_environment_secret
from provisioning.reconcile.observe import project_environment, sandbox_environment
from provisioning.reconcile.sandbox_spec import build_spec
from tests.factories import ProjectFactory
from tests.support.pages import edit
from tests.unit.projects.admin.test_projects import variable_rows
from tests.unit.projects.admin.test_templates import VALUES

pytestmark = pytest.mark.django_db

LINES = ("-----BEGIN CERTIFICATE-----", "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtM", "-----END CERTIFICATE-----", "")
PEM = "\n".join(LINES)


def save(admin: Client, typed: str) -> ProjectVariable:
    """Save a variable in the admin's form as a browser does, which sends CR LF for each line break."""
    project = ProjectFactory.create()
    rows = variable_rows(project, (None, "KEY", typed.replace("\n", "\r\n")))
    assert edit(admin, reverse("admin:projects_project_change", args=[project.pk]), rows).status_code == 302
    return project.variables.get()


@pytest.mark.parametrize(
    "typed",
    [
        PEM,
        PEM * 3,
        PEM.rstrip("\n"),
        "\n",
        "\n\n leading and trailing white space \t\n \n",
        '{\n  "type": "service_account",\n  "private_key": "a\\nb\\n"\n}\n',
        "carriage\rreturn alone",
        "línea\n行\n",
    ],
)
def test_lines_are_stored_as_they_were_entered(admin: Client, typed: str):
    assert save(admin, typed).value.reveal() == typed


def test_pem_is_in_the_secret_byte_for_byte(admin: Client):
    project = save(admin, PEM).project
    connection = Connection("10.0.0.7", 5432, "postgres", "postgres", "kEy-1")
    environment = sandbox_environment(project_environment(project), connection)
    data = build_environment_secret("aaa", "default", Owner("aaa", project.uid), environment)["data"]
    assert base64.b64decode(data["KEY"]) == PEM.encode()


def test_value_is_entered_in_a_text_area_that_shows_dots(admin: Client):
    variable = save(admin, PEM)
    body = admin.get(reverse("admin:projects_project_change", args=[variable.project_id])).content.decode()
    field = body[body.index('<textarea name="variables-0-value"') :].partition(">")[0]
    assert "panel-secret" in field
    assert 'autocomplete="off"' in field
    assert "CERTIFICATE" not in body


def test_changed_value_is_not_sent_back_with_an_error(admin: Client):
    variable = save(admin, PEM)
    rows = variable_rows(variable.project, (variable, "1-bad", PEM))
    answer = edit(admin, reverse("admin:projects_project_change", args=[variable.project_id]), rows)
    assert answer.status_code == 200
    assert "CERTIFICATE" not in answer.content.decode()
    assert "Enter the value again" in answer.content.decode()


def test_command_of_a_template_keeps_its_line_breaks(admin: Client):
    command = "sh -c 'set -e\nmigrate\nexec serve\n'"
    data = {**VALUES, "command": command.replace("\n", "\r\n")}
    assert admin.post(reverse("admin:projects_sandboxtemplate_add"), data).status_code == 302
    template = SandboxTemplate.objects.get()
    assert template.command == command
    assert build_spec(ProjectFactory.create(template=template)).command == ("sh", "-c", "set -e\nmigrate\nexec serve\n")
    body = admin.get(reverse("admin:projects_sandboxtemplate_change", args=[template.pk])).content.decode()
    assert '<textarea name="command"' in body
