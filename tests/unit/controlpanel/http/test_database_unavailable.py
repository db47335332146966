"""An unavailable database answers 503, whether a view or a middleware finds out."""

from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from django.urls import reverse

from tests.factories import ProjectFactory, UserFactory
from tests.support.pages import page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory.create(is_superuser=True, is_staff=True))
    return client


def fail() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("error", [OperationalError("database is locked"), InterfaceError("connection closed")])
@pytest.mark.parametrize("fails", ["SELECT", "UPDATE"])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_unavailable_database_answers_503(client, error, fails, headers):
    project = ProjectFactory.create(failed=True)

    def refuse(execute: Any, statement: str, *arguments: Any) -> Any:
        if statement.startswith(fails):
            raise error
        return execute(statement, *arguments)

    with connection.execute_wrapper(refuse):
        answer = client.post(page("retry", project.pk), headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert 'data-error="database-unavailable"' in answer.content.decode()


def test_other_errors_answer_500(client, settings):
    settings.PANEL_HEALTH = f"{__name__}.fail"
    answer = client.get(reverse("projects:list"))
    assert (answer.status_code, 'data-error="500"' in answer.content.decode()) == (500, True)
