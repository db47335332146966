"""Concurrent requests lock a project's rows in one order, and the earlier request wins.

On PostgreSQL, which locks rows: on SQLite, a transaction that writes waits until the other ends.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection, connections
from django.test import Client
from django.urls import reverse

from projects.domain.states import Phase, Reason
from projects.models import Project, ProjectVariable
from projects.services.forget import request_forget
from tests.factories import UserFactory, VariableFactory, provisioned_project
from tests.faults.postgres import shared
from tests.support.pages import opened
from tests.unit.projects.admin.test_projects import variable_rows

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="Run by test_on_postgresql.")


@pytest.mark.skipif(connection.vendor == "postgresql", reason="The others are run as they are.")
def test_tests_pass_on_postgresql(repository: Path) -> None:
    """Run the other tests of this file on a separate server."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        cwd=repository,
        env={**os.environ, "TEST_DATABASE_URL": shared().url},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


class Meanwhile(threading.Thread):
    """What another user does at the same time."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self.result: object = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self._act()
        except Exception as error:  # noqa: BLE001 - the test tells of it
            self.error = error
        finally:
            connections.close_all()

    def go_as_far_as_it_can(self) -> None:
        """Start; return once it is done, or waits for a row that this connection's transaction has locked."""
        self.start()
        until_s = time.monotonic() + 30
        while self.is_alive() and not _is_lock_awaited():
            assert time.monotonic() < until_s, "neither done nor waiting"
            time.sleep(0.01)


def _is_lock_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


def post(project: Project, data: dict[str, str], around: Callable[..., object]) -> int:
    """Save the admin's form, each statement of it inside `around`; return the status of the answer."""
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory.create(is_superuser=True))
    url = reverse("admin:projects_project_change", args=[project.pk])
    data = {**opened(client, url), **data}
    with connection.execute_wrapper(around):
        return client.post(url, data).status_code


@pytest.fixture
def unreachable(transactional_db) -> Project:
    """A project that has failed, since its cluster does not answer: it may be forgotten, changed or not."""
    project = provisioned_project()
    said = {"phase": Phase.FAILED, "reason": Reason.CLUSTER_UNREACHABLE, "message": "No answer.", "failures": 3}
    Project.objects.filter(pk=project.pk).update(**said)
    project.refresh_from_db()
    return project


@on_postgresql
def test_forget_clears_a_variable_that_is_being_saved(unreachable):
    variable = VariableFactory.create(project=unreachable, name="TOKEN_A")
    forgetting = Meanwhile(lambda: request_forget(unreachable, actor="bob"))

    def forget_after(execute, statement, *arguments):
        answer = execute(statement, *arguments)
        if statement.startswith('UPDATE "projects_projectvariable"'):
            forgetting.go_as_far_as_it_can()
        return answer

    status = post(unreachable, variable_rows(unreachable, (variable, "TOKEN_A", "another-Secret-1")), forget_after)
    forgetting.join(30)
    assert (status, forgetting.error) == (302, None)
    assert Project.objects.get().phase == Phase.DELETED
    assert not ProjectVariable.objects.get().value


@on_postgresql
def test_forget_clears_a_variable_that_is_being_added(unreachable):
    forgetting = Meanwhile(lambda: request_forget(unreachable, actor="bob"))

    def forget_before(execute, statement, *arguments):
        if statement.startswith('INSERT INTO "projects_projectvariable"'):
            forgetting.go_as_far_as_it_can()
        return execute(statement, *arguments)

    status = post(unreachable, variable_rows(unreachable, (None, "TOKEN_B", "another-Secret-1")), forget_before)
    forgetting.join(30)
    assert (status, forgetting.error) == (302, None)
    assert Project.objects.get().phase == Phase.DELETED
    assert not ProjectVariable.objects.get().value


@on_postgresql
def test_second_of_two_simultaneous_saves_is_refused(unreachable):
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(UserFactory.create(is_superuser=True))
    url = reverse("admin:projects_project_change", args=[unreachable.pk])
    data = {**opened(clients[0], url), **variable_rows(unreachable)}
    second = Meanwhile(lambda: clients[1].post(url, {**data, "description": "second"}).status_code)

    def save_before(execute, statement, *arguments):
        if statement.startswith('UPDATE "projects_project"') and second.ident is None:
            second.go_as_far_as_it_can()
        return execute(statement, *arguments)

    with connection.execute_wrapper(save_before):
        first = clients[0].post(url, {**data, "description": "first"}).status_code
    second.join(30)
    assert (first, second.result, second.error) == (302, 200, None)
    assert Project.objects.get().description == "first"
