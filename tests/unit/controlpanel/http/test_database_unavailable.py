"""The panel's own database is locked or gone: a page says so, whether a view or the middleware before it noticed."""

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


@pytest.mark.parametrize("error", [OperationalError("database is locked"), InterfaceError("connection closed")])
@pytest.mark.parametrize("fails", ["SELECT", "UPDATE"])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_it_is_said_and_not_called_a_mistake_of_the_panel(client, error, fails, headers):
    project = ProjectFactory.create(failed=True)

    def refuse(execute: Any, statement: str, *arguments: Any) -> Any:
        if statement.startswith(fails):
            raise error
        return execute(statement, *arguments)

    with connection.execute_wrapper(refuse):
        answer = client.post(page("retry", project.pk), headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    said = answer.content.decode()
    assert "database can&#x27;t be used" in said or "database can't be used" in said
    assert "Try again in a minute" in said
    assert "made a mistake" not in said


def test_another_error_is_still_a_mistake_of_the_panel(client, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("projects.pages.presentation.panel_warnings", fail)
    answer = client.get(reverse("projects:list"))
    assert (answer.status_code, "made a mistake" in answer.content.decode()) == (500, True)
