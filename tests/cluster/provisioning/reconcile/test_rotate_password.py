"""Password rotation: a new password counts once it is proved, and a killed pass never loses the password in force."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.utils import timezone
from psycopg import sql

from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_provision
from provisioning.reconcile import rotate_password
from provisioning.reconcile.lease import Lease
from provisioning.reconcile.loop import run_pass
from tests.cluster.provisioning.reconcile.password_changes import (
    KilledError,
    assert_one_truth,
    connects,
    is_settled,
    kill_after_effect,
    rotate,
)
from tests.support.passes import follow

pytestmark = pytest.mark.django_db


def test_rotation_replaces_the_password_everywhere(provisioned):
    old = assert_one_truth(provisioned)
    before = provisioned.sandbox.applied_at
    project = rotate(provisioned)
    new = assert_one_truth(project)
    assert new != old
    assert not connects(old)
    assert project.sandbox.applied_at > before
    events = list(project.events.order_by("pk").values_list("reason", "actor"))
    assert ("PasswordRotationRequested", "maria") in events
    assert ("PasswordRotated", "panel") in events
    # The panel recognizes that it changed the Secret.
    assert next(event for event in events if event[0] == "CredentialsCaptured") == ("CredentialsCaptured", "panel")
    assert [reason for reason, _ in events].count("CredentialsCaptured") == 1
    assert all(new not in event.message for event in project.events.all())
    assert rotate(project).database.connection.url != new


def test_rotation_restarts_the_sandbox_once(provisioned):
    project = rotate(provisioned)
    before = project.sandbox.applied_at
    request_provision(project, actor="maria")
    assert follow(project, is_settled).sandbox.applied_at == before


def kill_at_write(patch, number):
    """Kill the pass at its n-th write under the lease: each is a border between what is so and what is known."""
    writes = iter(range(1, number))
    write = Lease.write

    def killed(self, **values):
        if next(writes, None) is None:
            raise KilledError
        write(self, **values)

    patch.setattr(Lease, "write", killed)


@pytest.mark.parametrize(
    ("kill", "number"),
    [*((kill_at_write, number) for number in range(1, 6)), *((kill_after_effect, n) for n in (1, 2))],
)
def test_killed_pass_never_loses_the_password(provisioned, monkeypatch, kill, number):
    old = provisioned.database.connection
    assert request_password_rotation(provisioned, actor="maria").accepted
    with monkeypatch.context() as patch:
        kill(patch, number)
        with pytest.raises(KilledError):
            run_pass(provisioned.pk)
    Project.objects.filter(pk=provisioned.pk).update(lease_token=None, lease_until=None)
    row = DatabaseCluster.objects.get(project=provisioned)
    known = [row.password.reveal(), row.pending_password.reveal()]
    assert any(connects(replace(old, password=password).url) for password in known if password)
    new = assert_one_truth(follow(provisioned, is_settled))
    assert new != old.url
    assert not connects(old.url)


THIRD_LOG_IN_FAILS = """
CREATE SEQUENCE log_ins;
CREATE FUNCTION refuse_third() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') = 'controlpanel' AND nextval('log_ins') = 3 THEN
        RAISE EXCEPTION 'not now';
    END IF;
END $$;
CREATE EVENT TRIGGER refuse_third ON login EXECUTE FUNCTION refuse_third();
"""


def test_unproved_password_is_reverted(provisioned):
    """The panel logs in to see that the old one works, to change it, and to prove the new one: that fails."""
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    with psycopg.connect(old, autocommit=True) as session:
        session.execute(THIRD_LOG_IN_FAILS)
    run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "does not accept connections" in project.message
    assert project.database.rotation_begun_at is None
    assert project.database.pending_password
    assert connects(old)
    assert assert_one_truth(follow(project, is_settled)) != old
    assert not connects(old)


@contextlib.contextmanager
def connections_seen(see: Callable[[int], None]) -> Iterator[None]:
    """Call `see` with the number of each connection that the panel begins to make, from 1: it may raise instead."""
    numbers, connect_to = itertools.count(1), psycopg.connect

    def connect(*args: Any, **options: Any) -> Any:
        if options.get("application_name") == "controlpanel":
            see(next(numbers))
        return connect_to(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg, "connect", connect)
        yield


def end_lease(project: Project, *, left: timedelta = timedelta(0)) -> None:
    """Time passes until the lease of the project has only so much left."""
    Project.objects.filter(pk=project.pk).update(lease_until=timezone.now() + left)


def test_pass_without_a_lease_reverts_nothing(provisioned):
    """Its proof fails, and takes so long that another pass completes the rotation before."""
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted

    def see(number: int) -> None:
        if number == 3:  # the proof
            end_lease(provisioned)
            run_pass(provisioned.pk)
            raise psycopg.OperationalError("sorry, too many clients already")

    with connections_seen(see):
        run_pass(provisioned.pk)
    assert not connects(old)
    assert assert_one_truth(follow(provisioned, is_settled)) != old


@pytest.mark.parametrize("number", [2, 3])
def test_pass_stops_before_its_lease_expires(provisioned, monkeypatch, number):
    """Before the server has the new password, and before it is reverted: no other pass has begun."""
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    clock = timezone.now

    def see(seen: int) -> None:
        if seen == number:
            monkeypatch.setattr(timezone, "now", lambda: clock() + timedelta(seconds=41))
        if seen == 3:
            raise psycopg.OperationalError("sorry, too many clients already")

    with connections_seen(see):
        run_pass(provisioned.pk)
    monkeypatch.setattr(timezone, "now", clock)
    project = Project.objects.get(pk=provisioned.pk)
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "next pass" in project.message
    assert connects(old) is (number == 2)
    assert (project.database.rotation_begun_at is None) is (number == 2)
    assert assert_one_truth(follow(project, is_settled)) != old


@pytest.mark.parametrize("number", [1, 2])
def test_delayed_statement_of_an_overtaken_pass_is_void(provisioned, monkeypatch, number):
    """The pass stalls between its look at the lease and what it tells the server: the new password, the old one again.
    Other passes complete this rotation and the next one before it continues."""
    old = provisioned.database.connection.url
    monkeypatch.setattr(rotate_password, "_MOST_IDLE_MS", 500)
    assert request_password_rotation(provisioned, actor="maria").accepted
    execute, told = psycopg.Connection.execute, itertools.count(1)

    def stall(session: psycopg.Connection[Any], query: Any, *args: Any, **options: Any) -> Any:
        if isinstance(query, sql.Composed) and next(told) == number:
            end_lease(provisioned)
            run_pass(provisioned.pk)
            assert request_password_rotation(follow(provisioned, is_settled), actor="maria").accepted
            run_pass(provisioned.pk)
            time.sleep(1)
        return execute(session, query, *args, **options)

    def see(seen: int) -> None:
        if seen == 3 and number == 2:
            raise psycopg.OperationalError("sorry, too many clients already")

    monkeypatch.setattr(psycopg.Connection, "execute", stall)
    with connections_seen(see):
        run_pass(provisioned.pk)
    monkeypatch.undo()
    assert not connects(old)
    assert assert_one_truth(follow(provisioned, is_settled)) != old
    assert provisioned.events.filter(reason="PasswordRotated").count() == 2


def test_unreachable_server_delays_then_ends_the_rotation(provisioned, settings):
    old = provisioned.database.connection.url
    port = provisioned.database.port
    assert request_password_rotation(provisioned, actor="maria").accepted
    DatabaseCluster.objects.filter(project=provisioned).update(port=9)
    run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert (project.phase, project.reason) == (Phase.RUNNING, Reason.PASSWORD_NOT_CHANGED)
    assert "does not accept connections" in project.message
    settings.READY_TIMEOUT_S = 0
    run_pass(provisioned.pk)
    settings.READY_TIMEOUT_S = 120
    DatabaseCluster.objects.filter(project=provisioned).update(port=port)
    project = follow(provisioned, is_settled)
    assert project.events.filter(reason="PasswordNotChanged").exists()
    assert assert_one_truth(project) == old


def test_refused_statement_changes_no_password(provisioned, settings):
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    with psycopg.connect(old, autocommit=True) as session:
        session.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "refuses to change the password (ReadOnlySqlTransaction)" in project.message
    assert project.database.rotation_begun_at is None
    settings.READY_TIMEOUT_S = 0
    run_pass(provisioned.pk)
    settings.READY_TIMEOUT_S = 120
    assert assert_one_truth(follow(provisioned, is_settled)) == old


def test_rotation_is_refused_without_a_running_database(db):
    from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory

    for project, reason in (
        (ProjectFactory.create(), "NotRunning"),
        (ProjectFactory.create(deleted=True), "Deleted"),
        (SandboxFactory.create().project, "NoCredentials"),
        (DatabaseFactory.create(project=ProjectFactory.create(running=True)).project, "NoCredentials"),
    ):
        outcome = request_password_rotation(project, actor="maria")
        assert (outcome.accepted, outcome.reason) == (False, reason)


def test_repeated_request_rotates_once(provisioned):
    for _ in range(2):
        assert request_password_rotation(provisioned, actor="maria").accepted
    follow(provisioned, is_settled)
    assert provisioned.events.filter(reason="PasswordRotated").count() == 1
