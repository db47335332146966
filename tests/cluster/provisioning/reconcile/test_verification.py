"""Verified credentials are proved again: on request, by schedule, and when the sandbox turns unready."""

import threading
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from devcluster.controllers.scenarios import Scenario
from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.verification import request_verification
from provisioning.reconcile.loop import run_pass
from tests.cluster.provisioning.reconcile.password_changes import assert_one_truth, is_settled
from tests.support.commands import run
from tests.support.passes import follow
from tests.support.rest import MERGE_PATCH
from tests.support.standin_api import APPS, administrator_of

pytestmark = pytest.mark.django_db

SET_BY_SOMEBODY = "somebody-set-this-1"


def change_on_server(project: Project) -> psycopg.Connection:
    """Set another password, as somebody with psql does; return the session that can set the old one again."""
    session = psycopg.connect(project.database.connection.url, autocommit=True)
    session.execute(f"ALTER ROLE postgres PASSWORD '{SET_BY_SOMEBODY}'")
    return session


def check_failed(project: Project) -> None:
    database = project.database
    assert (project.phase, project.reason) == (Phase.WAITING, Reason.CREDENTIALS_REJECTED)
    assert "can't open new ones" in project.message
    assert "psql" in project.message
    assert not database.is_verified
    assert database.proved_at is not None
    assert all(step.at is None for step in project.steps() if step.step == "connection_verified")
    assert project.events.filter(reason="ConnectionNotVerified").count() == 1


def look(project: Project) -> Project:
    run_pass(project.pk)
    return Project.objects.with_resources().get(pk=project.pk)


def test_changed_password_is_found_on_request(provisioned):
    before = provisioned.database.proved_at
    with change_on_server(provisioned) as session:
        assert look(provisioned).phase == Phase.RUNNING
        assert request_verification(provisioned, actor="maria").accepted
        project = look(provisioned)
        check_failed(project)
        assert project.database.proved_at == before
        assert project.database.verification_requested_at is None
        session.execute(f"ALTER ROLE postgres PASSWORD '{provisioned.database.connection.password}'")
    project = follow(project, is_settled)
    assert_one_truth(project)
    assert project.database.proved_at > before


def test_changed_password_is_found_by_schedule(provisioned, settings):
    with change_on_server(provisioned):
        DatabaseCluster.objects.filter(project=provisioned).update(proved_at=timezone.now() - timedelta(hours=25))
        settings.VERIFY_INTERVAL_S = 0
        assert look(provisioned).phase == Phase.RUNNING
        settings.VERIFY_INTERVAL_S = 86_400
        check_failed(look(provisioned))


def test_changed_password_is_found_when_the_sandbox_turns_unready(provisioned, cluster):
    rest, name = administrator_of(cluster), provisioned.sandbox.name
    with change_on_server(provisioned):
        rest.send(
            "PATCH",
            f"{APPS}/namespaces/default/statefulsets/{name}",
            {"spec": {"template": {"metadata": {"annotations": {"restarted": "yes"}}}}},
            content_type=MERGE_PATCH,
        )
        check_failed(look(provisioned))
    rest.close()


def test_proof_that_succeeds_changes_the_time_alone(provisioned):
    before, events = provisioned.database, provisioned.events.count()
    assert request_verification(provisioned, actor="maria").accepted
    project = look(provisioned)
    assert is_settled(project)
    assert project.database.proved_at > before.proved_at
    assert project.database.verified_at == before.verified_at
    assert project.sandbox.applied_at == provisioned.sandbox.applied_at
    assert project.events.count() == events + 1  # the request


def test_request_waits_until_the_database_can_be_asked(provisioned, cluster):
    cluster.set_scenario("changing", Scenario(match=provisioned.database.name, stuck="Updating"))
    project = follow(provisioned, lambda project: project.database.observed_phase == "Updating")
    with change_on_server(project):
        assert request_verification(project, actor="maria").accepted
        assert look(project).database.verification_requested_at is not None
        cluster.set_scenario("changing", None)
        project = follow(project, lambda project: project.database.verification_requested_at is None)
    assert not project.database.is_verified


def test_settled_project_is_not_proved_by_every_pass(provisioned):
    before = provisioned.database.proved_at
    for _ in range(3):
        assert look(provisioned).database.proved_at == before


@pytest.mark.django_db(transaction=True)
def test_command_waits_for_the_proof_and_not_for_the_recovery(provisioned):
    def work() -> None:
        follow(provisioned, lambda project: project.database.verification_requested_at is None)

    with change_on_server(provisioned):
        assert request_verification(provisioned, actor="maria").accepted
        worker = threading.Timer(0.3, work)
        worker.start()
        ran = run("verify", provisioned.name, "--wait")
        worker.join()
    assert ran.code == 1
    assert "does not accept the captured user and password" in ran.out
