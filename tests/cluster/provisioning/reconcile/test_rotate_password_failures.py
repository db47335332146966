"""Password rotations that fail: the API server, another person's password, and lost encryption keys."""

from dataclasses import replace

import psycopg
import pytest

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Origin, Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.key_rotation import recapture_lost_passwords
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import request_delete
from provisioning.objects.secret_writes import find_source
from provisioning.reconcile.loop import run_pass
from tests.cluster.provisioning.reconcile.password_changes import (
    assert_one_truth,
    begin_change_and_die,
    connects,
    is_settled,
    password_in,
    rotate,
    secret_of,
)
from tests.support.passes import follow
from tests.support.standin_api import write_password

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("fault", ["status", "reset-before", "reset-after"])
def test_rotation_survives_failures_of_the_api_server(provisioned, cluster, fault):
    old = provisioned.database.connection.url
    assert request_password_rotation(provisioned, actor="maria").accepted
    cluster.faults.add(fault, verb="patch", resource="secrets", count=2, status=500)
    run_pass(provisioned.pk)
    project = follow(provisioned, is_settled)
    assert assert_one_truth(project) != old


def test_password_set_by_another_person_is_kept(provisioned, cluster):
    """Changed at the server and in the Secret behind the panel's back, at the same moment."""
    connection = provisioned.database.connection
    assert request_password_rotation(provisioned, actor="maria").accepted
    DatabaseCluster.objects.filter(project=provisioned).update(
        pending_password=EncryptedText.of("never-Us3d-by-anyone")
    )
    with psycopg.connect(connection.url, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'th3irs-and-not-ours'")
    write_password(cluster, secret_of(provisioned)["metadata"]["name"], "th3irs-and-not-ours")
    project = follow(provisioned, is_settled)
    assert "neither the current password" in project.events.get(reason="PasswordNotChanged").message
    assert "th3irs-and-not-ours" in assert_one_truth(project)


def test_temporary_refusal_keeps_the_new_password(provisioned, monkeypatch):
    new = begin_change_and_die(provisioned, monkeypatch).url
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
def test_third_password_ends_a_started_rotation(provisioned, cluster, monkeypatch, is_in_secret):
    """Both ways out that the message names: the one in force into the Secret, or the Secret's set with psql."""
    old = provisioned.database.connection
    new = begin_change_and_die(provisioned, monkeypatch).url
    with psycopg.connect(new, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'th3irs-and-not-ours'")
        run_pass(provisioned.pk)
        project = Project.objects.get(pk=provisioned.pk)
        assert "psql" in project.message
        assert project.database.pending_password
        if is_in_secret:
            write_password(cluster, secret_of(project)["metadata"]["name"], "th3irs-and-not-ours")
        else:
            session.execute(f"ALTER ROLE postgres PASSWORD '{old.password}'")
    now_in_force = assert_one_truth(follow(project, is_settled))
    if is_in_secret:
        assert "th3irs-and-not-ours" in now_in_force
        assert "another one" in project.events.get(reason="PasswordNotChanged", level="error").message
    else:
        assert now_in_force == new


def test_password_from_another_secret_is_recognized():
    spec = {"componentSpecs": [{"systemAccounts": [{"name": "postgres", "secretRef": {"name": "theirs"}}]}]}
    assert find_source({"spec": spec}) == "theirs"
    assert find_source({"spec": {"componentSpecs": [{"systemAccounts": [{"name": "x"}]}]}}) == ""
    assert find_source(None) == ""


def test_adopted_database_is_released_with_its_password(provisioned, monkeypatch):
    DatabaseCluster.objects.filter(project=provisioned).update(origin=Origin.ADOPTED)
    refused = request_password_rotation(Project.objects.get(pk=provisioned.pk), actor="maria")
    assert not refused.accepted
    assert refused.reason == "ConfirmationNeeded"
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


def test_unreadable_new_password_is_dropped_before_it_is_set(provisioned):
    old = assert_one_truth(provisioned)
    assert request_password_rotation(provisioned, actor="maria").accepted
    DatabaseCluster.objects.filter(project=provisioned).update(pending_password=LOST)
    run_pass(provisioned.pk)
    assert Project.objects.get(pk=provisioned.pk).reason == Reason.KEY_MISSING
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    said = provisioned.events.get(reason="PasswordGivenUp")
    assert "before the server had it" in said.message
    assert "Rotate password" in said.message
    assert assert_one_truth(follow(provisioned, is_settled)) == old


def test_unreadable_password_in_force_needs_a_person(provisioned, monkeypatch):
    connection = provisioned.database.connection
    new = begin_change_and_die(provisioned, monkeypatch).password
    DatabaseCluster.objects.filter(project=provisioned).update(pending_password=LOST)
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    assert "may already have it" in provisioned.events.get(reason="PasswordGivenUp").message
    project = follow(provisioned, lambda project: project.reason == Reason.CREDENTIALS_REJECTED)
    assert "psql" in project.message
    assert "does not accept the captured user and password" in project.message
    # What the sentence says to do.
    with psycopg.connect(replace(connection, password=new).url, autocommit=True) as session:
        session.execute(f"ALTER ROLE postgres PASSWORD '{connection.password}'")
    assert assert_one_truth(follow(project, is_settled)) == connection.url


def test_unreadable_old_password_is_replaced_by_the_new_one(provisioned, monkeypatch):
    old = provisioned.database.connection
    new = begin_change_and_die(provisioned, monkeypatch).password
    DatabaseCluster.objects.filter(project=provisioned).update(password=LOST)
    assert recapture_lost_passwords(actor="maria") == [provisioned.database.name]
    assert assert_one_truth(follow(provisioned, is_settled)) == replace(old, password=new).url
