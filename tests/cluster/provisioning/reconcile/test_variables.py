"""Variables of a project in the environment of its sandbox."""

import base64

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from devcluster.cluster import EmbeddedCluster
from projects.services.provisioning import add_project, request_provision
from provisioning.kube.client import connect
from provisioning.kube.kinds import SECRET
from provisioning.objects.manifests import environment_secret_name
from tests.support.pages import edit
from tests.support.passes import follow, is_running
from tests.unit.projects.admin.test_projects import variable_rows
from tests.unit.projects.pages.test_line_breaks import PEM


def test_pasted_pem_is_in_the_sandbox_byte_for_byte(cluster: EmbeddedCluster, db: None, unique_name: str) -> None:
    project = add_project(unique_name, actor="tester")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    rows = variable_rows(project, (None, "KEY", PEM.replace("\n", "\r\n")))
    assert edit(client, reverse("admin:projects_project_change", args=[project.pk]), rows).status_code == 302
    request_provision(project, actor="tester")
    sandbox = follow(project, is_running).sandbox
    assert sandbox is not None
    secret = connect().get_or_none(SECRET, sandbox.namespace, environment_secret_name(sandbox.name))
    assert secret is not None
    assert base64.b64decode(secret["data"]["KEY"]) == PEM.encode()
