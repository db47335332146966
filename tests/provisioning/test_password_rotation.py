"""A new database password: proved before it counts, and never unknown, wherever the change is killed."""

import base64
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import requests
from django.utils import timezone
from psycopg import sql

from projects.fields import EncryptedText
from projects.key_rotation import recapture_lost_passwords
from projects.models import DatabaseCluster, Project
from projects.password_rotation import request_password_rotation
from projects.services import request_delete, request_provision
from projects.states import Origin, Phase, Reason
from provisioning import kube as k
from provisioning import password_rotation
from provisioning.lease import Lease
from provisioning.manifests import environment_secret_name
from provisioning.readiness import Object
from provisioning.reconcile import run_pass
from tests.conftest import follow, is_running

pytestmark = pytest.mark.django_db


def rotate(project: Project, **options: bool) -> Project:
    outcome = request_password_rotation(project, actor="maria", **options)
    assert outcome.accepted, outcome.message
    return follow(project, is_settled)


def is_settled(project: Project) -> bool:
    return is_running(project) and project.is_carried_out and project.database.rotation_requested_at is None


def connects(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3) as session:
            return session.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def secret_of(project: Project) -> Object:
    """KubeBlocks' Secret."""
    labels = f"app.kubernetes.io/instance={project.database.name},app.kubernetes.io/managed-by=kubeblocks"
    (secret,) = k.connect().list_objects(k.SECRET, "default", labels=labels)
    return secret


def password_in(secret: Object) -> str:
    return base64.b64decode(secret["data"]["password"]).decode()


def sandbox_url(project: Project) -> str:
    secret = k.connect().get_or_none(k.SECRET, "default", environment_secret_name(project.sandbox.name))
    return base64.b64decode(secret["data"]["DATABASE_URL"]).decode()


def assert_one_truth(project: Project) -> str:
    """The row, KubeBlocks' Secret, the sandbox's Secret and the server agree; return the URL."""
    connection = project.database.connection
    assert connects(connection.url)
    assert password_in(secret_of(project)) == connection.password
    assert sandbox_url(project) == connection.url
    assert not project.database.pending_password
    assert project.database.is_verified
    return connection.url


def write_secret(cluster, secret, password):
    """Change KubeBlocks' Secret as somebody else would."""
    data = {"password": base64.b64encode(password.encode()).decode()}
    answer = requests.patch(
        f"{cluster.url}/api/v1/namespaces/default/secrets/{secret['metadata']['name']}",
        headers={"Authorization": f"Bearer {cluster.token}", "Content-Type": "application/merge-patch+json"},
        data=json.dumps({"data": data}),
        timeout=20,
    )
    assert answer.status_code == 200


def test_everything_has_the_new_password_and_the_old_one_is_refused(provisioned):
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
    # Its own change of the Secret is not taken for somebody else's.
    assert next(event for event in events if event[0] == "CredentialsCaptured") == ("CredentialsCaptured", "panel")
    assert [reason for reason, _ in events].count("CredentialsCaptured") == 1
    assert all(new not in event.message for event in project.events.all())
    assert rotate(project).database.connection.url != new


def test_it_is_followed_by_no_second_restart(provisioned):
    project = rotate(provisioned)
    before = project.sandbox.applied_at
    request_provision(project, actor="maria")
    assert follow(project, is_settled).sandbox.applied_at == before


class KilledError(BaseException):
    """Ends a pass as kill -9 does: nothing after it runs, not even the release of the lease."""


def kill_at_write(patch, number):
    """Kill the pass at its n-th write under the lease: each is a border between what is so and what is known."""
    writes = iter(range(1, number))
    write = Lease.write

    def killed(self, **values):
        if next(writes, None) is None:
            raise KilledError
        write(self, **values)

    patch.setattr(Lease, "write", killed)


def kill_after_effect(patch, number):
    """Kill the pass right behind the n-th thing that it does to the server or to the cluster."""
    effects = iter(range(1, number))
    for name in ("_set_password", "_write_secret"):
        original = getattr(password_rotation, name)

        def killed(*args, _original=original, **options):
            result = _original(*args, **options)
            if next(effects, None) is None:
                raise KilledError
            return result

        patch.setattr(password_rotation, name, killed)


def begin_change_and_die(project, monkeypatch, *, with_adopted=False):
    """Ask for another password; the worker is killed when the server has it and the Secret does not, and its lease
    ends."""
    assert request_password_rotation(project, actor="maria", with_adopted=with_adopted).accepted
    with monkeypatch.context() as patch:
        kill_after_effect(patch, 1)
        with pytest.raises(KilledError):
            run_pass(project.pk)
    Project.objects.filter(pk=project.pk).update(lease_token=None, lease_until=None)


@pytest.mark.parametrize(
    ("kill", "number"),
    [*((kill_at_write, number) for number in range(1, 6)), *((kill_after_effect, n) for n in (1, 2))],
)
def test_killed_anywhere_it_goes_on_and_somebody_always_knows_the_password(provisioned, monkeypatch, kill, number):
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


def test_a_new_password_that_can_not_be_proved_is_taken_back(provisioned):
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


def test_a_pass_whose_lease_has_ended_takes_nothing_back(provisioned):
    """Its proof comes to nothing and takes so long that another pass carries the change out meanwhile."""
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
def test_what_a_lease_has_no_time_for_is_left_to_the_next_pass(provisioned, monkeypatch, number):
    """Before the server has the new password, and between that and taking it back: nobody else is there yet."""
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
def test_what_reaches_the_server_long_after_the_look_at_the_lease_is_void(provisioned, monkeypatch, number):
    """The pass stalls between its look at the lease and what it tells the server: the new password, the old one again.
    Meanwhile others carry this change out, and the next one."""
    old = provisioned.database.connection.url
    monkeypatch.setattr(password_rotation, "_MOST_IDLE_MS", 500)
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


def test_a_server_that_can_not_be_asked_delays_it_and_then_it_is_given_up(provisioned, settings):
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


def test_a_server_that_refuses_the_change_has_not_begun_it(provisioned, settings):
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    with psycopg.connect(old, autocommit=True) as session:
        session.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    run_pass(provisioned.pk)
    project = Project.objects.get(pk=provisioned.pk)
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "refuses to change it (ReadOnlySqlTransaction)" in project.message
    assert project.database.rotation_begun_at is None
    settings.READY_TIMEOUT_S = 0
    run_pass(provisioned.pk)
    settings.READY_TIMEOUT_S = 120
    assert assert_one_truth(follow(provisioned, is_settled)) == old


@pytest.mark.parametrize("fault", ["status", "reset-before", "reset-after"])
def test_an_api_server_that_fails_or_whose_answer_is_lost_is_asked_again(provisioned, cluster, fault):
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    cluster.faults.add(fault, verb="patch", resource="secrets", count=2, status=500)
    run_pass(provisioned.pk)
    project = follow(provisioned, is_settled)
    assert assert_one_truth(project) != old


def test_a_password_that_somebody_else_changed_is_not_fought_over(provisioned, cluster):
    """Changed at the server and in the Secret behind the panel's back, at the same moment."""
    connection = provisioned.database.connection
    assert request_password_rotation(provisioned, actor="maria").accepted
    DatabaseCluster.objects.filter(project=provisioned).update(
        pending_password=EncryptedText.of("never-Us3d-by-anyone")
    )
    with psycopg.connect(connection.url, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'th3irs-and-not-ours'")
    write_secret(cluster, secret_of(provisioned), "th3irs-and-not-ours")
    project = follow(provisioned, is_settled)
    assert "neither the password" in project.events.get(reason="PasswordNotChanged").message
    assert "th3irs-and-not-ours" in assert_one_truth(project)


def test_a_server_that_refuses_everybody_for_a_while_loses_nobody_the_new_password(provisioned, monkeypatch):
    begin_change_and_die(provisioned, monkeypatch)
    new = DatabaseCluster.objects.get(project=provisioned).pending_connection.url
    with psycopg.connect(new, autocommit=True) as session:
        session.execute("ALTER ROLE postgres VALID UNTIL '2000-01-01'")
        run_pass(provisioned.pk)
        project = Project.objects.get(pk=provisioned.pk)
        session.execute("ALTER ROLE postgres VALID UNTIL 'infinity'")
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "Check again" in project.message
    assert not project.events.filter(reason="PasswordNotChanged", level="error").exists()
    assert assert_one_truth(follow(project, is_settled)) == new


@pytest.mark.parametrize("is_in_secret", [True, False])
def test_a_change_that_has_begun_ends_where_somebody_else_has_set_a_third_password(
    provisioned, cluster, monkeypatch, is_in_secret
):
    """Both ways out that the message names: the one in force into the Secret, or the Secret's set with psql."""
    old = provisioned.database.connection
    begin_change_and_die(provisioned, monkeypatch)
    new = DatabaseCluster.objects.get(project=provisioned).pending_connection.url
    with psycopg.connect(new, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'th3irs-and-not-ours'")
        run_pass(provisioned.pk)
        project = Project.objects.get(pk=provisioned.pk)
        assert "psql" in project.message
        assert project.database.pending_password
        if is_in_secret:
            write_secret(cluster, secret_of(project), "th3irs-and-not-ours")
        else:
            session.execute(f"ALTER ROLE postgres PASSWORD '{old.password}'")
    now_in_force = assert_one_truth(follow(project, is_settled))
    if is_in_secret:
        assert "th3irs-and-not-ours" in now_in_force
        assert "another one" in project.events.get(reason="PasswordNotChanged", level="error").message
    else:
        assert now_in_force == new


def test_a_password_that_kubeblocks_takes_from_elsewhere_is_told_apart():
    spec = {"componentSpecs": [{"systemAccounts": [{"name": "postgres", "secretRef": {"name": "theirs"}}]}]}
    assert password_rotation._find_source({"spec": spec}) == "theirs"
    assert password_rotation._find_source({"spec": {"componentSpecs": [{"systemAccounts": [{"name": "x"}]}]}}) == ""
    assert password_rotation._find_source(None) == ""


def test_an_adopted_database_takes_a_word_and_is_given_back_with_its_password_in_its_secret(provisioned, monkeypatch):
    DatabaseCluster.objects.filter(project=provisioned).update(origin=Origin.ADOPTED)
    refused = request_password_rotation(Project.objects.get(pk=provisioned.pk), actor="maria")
    assert not refused.accepted
    assert "locked out" in refused.message
    project = rotate(Project.objects.get(pk=provisioned.pk), with_adopted=True)
    connection = project.database.connection
    # Another change is killed when the server has it and the Secret does not; then the project is deleted.
    begin_change_and_die(project, monkeypatch, with_adopted=True)
    assert not connects(connection.url)
    assert password_in(secret_of(project)) == connection.password
    request_delete(project, actor="maria")
    gone = follow(project, lambda project: project.phase == Phase.DELETED)
    secret = secret_of(project)
    assert connects(connection.url.replace(connection.password, password_in(secret)))
    assert not DatabaseCluster.objects.get(project=gone).pending_password


LOST = EncryptedText("fernet:its-key-is-lost")


def test_a_new_password_whose_key_is_lost_is_given_up_and_the_old_one_proved(provisioned):
    old = assert_one_truth(provisioned)
    assert request_password_rotation(provisioned, actor="maria").accepted
    DatabaseCluster.objects.filter(project=provisioned).update(pending_password=LOST)
    run_pass(provisioned.pk)
    assert Project.objects.get(pk=provisioned.pk).reason == Reason.KEY_MISSING
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    said = provisioned.events.get(reason="PasswordGivenUp")
    assert "before the server had it" in said.message
    assert "Change the password" in said.message
    assert assert_one_truth(follow(provisioned, is_settled)) == old


def test_a_lost_new_password_that_the_server_has_already_is_never_guessed(provisioned, monkeypatch):
    connection = provisioned.database.connection
    begin_change_and_die(provisioned, monkeypatch)
    new = DatabaseCluster.objects.get(project=provisioned).pending_password.reveal()
    DatabaseCluster.objects.filter(project=provisioned).update(pending_password=LOST)
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    assert "is not known" in provisioned.events.get(reason="PasswordGivenUp").message
    project = follow(provisioned, lambda project: "psql" in project.message)
    assert "does not accept the captured user and password" in project.message
    # What the sentence says to do.
    with psycopg.connect(replace(connection, password=new).url, autocommit=True) as session:
        session.execute(f"ALTER ROLE postgres PASSWORD '{connection.password}'")
    assert assert_one_truth(follow(project, is_settled)) == connection.url


def test_where_the_old_passwords_key_is_lost_the_server_is_asked_for_the_new_one(provisioned, monkeypatch):
    old = provisioned.database.connection
    begin_change_and_die(provisioned, monkeypatch)
    new = DatabaseCluster.objects.get(project=provisioned).pending_password.reveal()
    DatabaseCluster.objects.filter(project=provisioned).update(password=LOST)
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    assert assert_one_truth(follow(provisioned, is_settled)) == replace(old, password=new).url


def test_what_can_not_be_changed_is_refused_in_a_sentence(db):
    from tests.factories import DatabaseFactory, ProjectFactory, SandboxFactory

    for project, said in (
        (ProjectFactory.create(), "has to be running"),
        (ProjectFactory.create(deleted=True), "is deleted"),
        (SandboxFactory.create().project, "no credentials of its own"),
        (DatabaseFactory.create(project=ProjectFactory.create(running=True)).project, "no credentials of its own"),
    ):
        outcome = request_password_rotation(project, actor="maria")
        assert not outcome.accepted
        assert said in outcome.message


def test_asking_twice_is_asking_once(provisioned):
    for _ in range(2):
        assert request_password_rotation(provisioned, actor="maria").accepted
    follow(provisioned, is_settled)
    assert provisioned.events.filter(reason="PasswordRotated").count() == 1
