"""Size limits of a variable and of all variables of a project."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from projects.domain.limits import MAX_VARIABLE_BYTES, MAX_VARIABLES_BYTES
from projects.models import ProjectVariable
from tests.factories import ProjectFactory
from tests.support.pages import edit

pytestmark = pytest.mark.django_db


def save(values: list[str], kept: list[ProjectVariable] = []):  # noqa: B006 - never written to
    """Save these values as new variables of a project in the admin's form."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    project = kept[0].project if kept else ProjectFactory.create(name="aaa")
    data = {
        "namespace": "default",
        "description": "",
        "variables-TOTAL_FORMS": str(len(values) + len(kept)),
        "variables-INITIAL_FORMS": str(len(kept)),
    }
    rows = [(str(row.pk), row.name, "") for row in kept]
    rows += [("", f"V{number}", value) for number, value in enumerate(values, len(kept))]
    for index, (pk, name, value) in enumerate(rows):
        data |= {f"variables-{index}-id": pk, f"variables-{index}-project": str(project.pk)}
        data |= {f"variables-{index}-name": name, f"variables-{index}-value": value}
    return edit(client, reverse("admin:projects_project_change", args=[project.pk]), data)


def test_value_at_the_limit_is_saved():
    assert save(["x" * MAX_VARIABLE_BYTES]).status_code == 302
    assert len(ProjectVariable.objects.get().value.reveal()) == MAX_VARIABLE_BYTES


@pytest.mark.parametrize("value", ["x" * (MAX_VARIABLE_BYTES + 1), "é" * (MAX_VARIABLE_BYTES // 2 + 1)])
def test_larger_value_is_refused(value):
    answer = save([value])
    assert answer.status_code == 200
    assert str(MAX_VARIABLE_BYTES) in answer.content.decode()
    assert not ProjectVariable.objects.exists()


def test_all_variables_together_have_a_limit_too():
    count = MAX_VARIABLES_BYTES // MAX_VARIABLE_BYTES
    assert save(["x" * (MAX_VARIABLE_BYTES - 100)] * count).status_code == 302
    kept = list(ProjectVariable.objects.order_by("pk"))
    User.objects.all().delete()
    answer = save(["y" * (MAX_VARIABLE_BYTES - 100)], kept)
    assert answer.status_code == 200
    assert str(MAX_VARIABLES_BYTES) in answer.content.decode()
    assert ProjectVariable.objects.count() == count
