"""A rotation that can't be completed changes nothing, and one that gets stuck sets the previous password again."""

import base64
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from projects.domain.states import Reason
from projects.models import DatabaseCluster, Project
from projects.services.password_rotation import request_password_rotation
from provisioning.objects.manifests import environment_secret_name
from provisioning.reconcile.loop import run_pass
from tests.cluster.provisioning.reconcile.account_secrets import SECRETS, patch_secret, replace_secret
from tests.cluster.provisioning.reconcile.password_changes import (
    assert_one_truth,
    begin_change_and_die,
    connects,
    is_settled,
    password_in,
    rotate,
    sandbox_url,
    secret_of,
)
from tests.support.passes import follow
from tests.support.rest import MERGE_PATCH
from tests.support.standin_api import CLUSTERS, administrator_of, write_password

pytestmark = pytest.mark.django_db


def stored_on_server(project: Project) -> str:
    """The verifier that the server stores: it changes with every ALTER ROLE … PASSWORD, even with the same password."""
    with psycopg.connect(project.database.connection.url) as session:
        row = session.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'").fetchone()
    return str(row[0]) if row else ""


def check_refused(project: Project, words: str) -> Project:
    """Ask for a rotation, which is refused before anything is changed."""
    url, stored, secret = assert_one_truth(project), stored_on_server(project), secret_of(project)
    assert request_password_rotation(project, actor="maria").accepted
    # A Cluster whose spec was changed is updated first.
    project = follow(project, lambda project: project.events.filter(reason="PasswordNotChanged").exists())
    assert words in project.events.get(reason="PasswordNotChanged").message
    assert stored_on_server(project) == stored
    assert secret_of(project)["metadata"]["resourceVersion"] == secret["metadata"]["resourceVersion"]
    project = follow(project, is_settled)
    assert assert_one_truth(project) == url
    return project


def test_immutable_secret_refuses_the_rotation(provisioned, cluster):
    patch_secret(cluster, provisioned, {"immutable": True})
    project = check_refused(provisioned, "is immutable, as KubeBlocks up to 0.9.3 creates it")
    # What the message says to do: a copy that is not immutable.
    replace_secret(cluster, project)
    old = project.database.connection.url
    assert assert_one_truth(rotate(project)) != old


def test_secret_that_is_being_deleted_refuses_the_rotation(provisioned, cluster):
    patch_secret(cluster, provisioned, {"metadata": {"finalizers": ["component.kubeblocks.io/finalizer"]}})
    rest = administrator_of(cluster)
    rest.send("DELETE", f"{SECRETS}/{secret_of(provisioned)['metadata']['name']}")
    rest.close()
    check_refused(provisioned, "has been marked for deletion since")
    patch_secret(cluster, provisioned, {"metadata": {"finalizers": None}})


def test_secret_of_another_controller_refuses_the_rotation(provisioned, cluster):
    owner = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "name": "from-vault",
        "uid": "0f8c7a50-0d0e-4b7a-9d8e-3c2b1a009d8e",
        "controller": True,
    }
    # Its owner does not exist: only until the garbage collector looks.
    patch_secret(cluster, provisioned, {"metadata": {"ownerReferences": [owner], "finalizers": ["test.io/keep"]}})
    try:
        assert request_password_rotation(provisioned, actor="maria").accepted
        run_pass(provisioned.pk)
        message = provisioned.events.get(reason="PasswordNotChanged").message
        assert "from-vault" in message or "marked for deletion" in message
        assert connects(provisioned.database.connection.url)
    finally:
        patch_secret(cluster, provisioned, {"metadata": {"ownerReferences": None, "finalizers": None}})


def test_sandbox_that_can_not_be_given_the_password_refuses_the_rotation(provisioned, cluster):
    name = environment_secret_name(provisioned.sandbox.name)
    rest = administrator_of(cluster)
    rest.send("PATCH", f"{SECRETS}/{name}", {"immutable": True}, content_type=MERGE_PATCH)
    rest.close()
    check_refused(provisioned, f"in the sandbox's Secret {name} (422 Invalid)")


def test_api_server_that_fails_during_the_proof_delays_the_rotation(provisioned, cluster):
    old, stored = assert_one_truth(provisioned), stored_on_server(provisioned)
    assert request_password_rotation(provisioned, actor="maria").accepted
    cluster.faults.add("status", verb="patch", resource="secrets", count=2, status=503)
    run_pass(provisioned.pk)
    assert stored_on_server(provisioned) == stored
    assert assert_one_truth(follow(provisioned, is_settled)) != old


def test_refusal_quotes_no_password(provisioned, cluster):
    assert request_password_rotation(provisioned, actor="maria").accepted
    cluster.faults.add("status", verb="patch", resource="secrets", count=2, status=503)
    run_pass(provisioned.pk)
    cluster.faults.clear()
    pending = DatabaseCluster.objects.get(project=provisioned).pending_password.reveal()
    patch_secret(cluster, provisioned, {"immutable": True})
    project = follow(provisioned, is_settled)
    messages = [event.message for event in project.events.all()]
    assert any("immutable" in message for message in messages)
    assert not any(pending in message for message in messages)


# --- A rotation that has begun ---------------------------------------------------------------------------------------


def test_nothing_is_verified_while_a_change_is_begun(provisioned, monkeypatch):
    begin_change_and_die(provisioned, monkeypatch)
    database = DatabaseCluster.objects.get(project=provisioned)
    assert not database.is_verified
    assert database.verified_at is None
    assert assert_one_truth(follow(provisioned, is_settled))


def test_begun_rotation_whose_secret_became_immutable_is_reverted(provisioned, cluster, monkeypatch):
    old = assert_one_truth(provisioned)
    new = begin_change_and_die(provisioned, monkeypatch).url
    patch_secret(cluster, provisioned, {"immutable": True})
    assert connects(new)
    project = follow(provisioned, is_settled)
    assert assert_one_truth(project) == old
    assert not connects(new)
    message = project.events.get(reason="PasswordNotChanged").message
    assert "immutable" in message
    assert "The previous password is in force again" in message


def test_abandoned_change_is_no_longer_said_to_go_on(provisioned, cluster, monkeypatch, settings):
    begin_change_and_die(provisioned, monkeypatch)
    patch_secret(cluster, provisioned, {"immutable": True})
    settings.VERIFY_CONNECTIONS = False
    project = follow(provisioned, is_settled)
    assert project.events.filter(reason="PasswordNotChanged").exists()
    assert project.database.verification_note == ""


def test_stuck_rotation_says_the_way_out(provisioned, cluster, monkeypatch):
    """The old password can't be set again either: the server has become read-only. Once it isn't, all is well."""
    old = assert_one_truth(provisioned)
    new = begin_change_and_die(provisioned, monkeypatch).url
    patch_secret(cluster, provisioned, {"immutable": True})
    with psycopg.connect(new, autocommit=True) as session:
        session.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
        run_pass(provisioned.pk)
        project = Project.objects.with_resources().get(pk=provisioned.pk)
        session.execute("ALTER ROLE postgres RESET default_transaction_read_only")
    assert project.reason == Reason.PASSWORD_NOT_CHANGED
    assert "kubectl replace --force" in project.message
    assert not project.database.is_verified
    assert assert_one_truth(follow(project, is_settled)) == old


def test_stuck_rotation_continues_once_the_secret_can_be_written(provisioned, cluster, monkeypatch):
    new = begin_change_and_die(provisioned, monkeypatch).url
    assert assert_one_truth(follow(provisioned, is_settled)) == new


# --- A password that comes from another Secret -----------------------------------------------------------------------


def refer_to_another_secret(cluster, project: Project) -> None:
    rest = administrator_of(cluster)
    path = f"{CLUSTERS}/namespaces/default/clusters/{project.database.name}"
    (component,) = rest.send("GET", path)["spec"]["componentSpecs"]
    component["systemAccounts"] = [{"name": "postgres", "secretRef": {"name": "theirs", "namespace": "default"}}]
    rest.send("PATCH", path, {"spec": {"componentSpecs": [component]}}, content_type=MERGE_PATCH)
    rest.close()


def test_steps_for_a_password_from_another_secret_work(provisioned, cluster):
    refer_to_another_secret(cluster, provisioned)
    project = check_refused(follow(provisioned, is_settled), "default/theirs (secretRef")
    message = project.events.get(reason="PasswordNotChanged").message
    assert "ALTER ROLE postgres" in message
    # The steps that the message names; the panel sees the Secret of the account.
    with psycopg.connect(project.database.connection.url, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'chosen-by-a-person-1'")
    write_password(cluster, secret_of(project)["metadata"]["name"], "chosen-by-a-person-1")
    project = follow(project, lambda project: is_settled(project) and "chosen-by" in project.database.connection.url)
    assert_one_truth(project)


def test_secret_first_does_not_take_the_sandbox_down(provisioned, cluster):
    """The advice of version 0.1.0: the password is changed in the Secret, and the server does not have it."""
    url = assert_one_truth(provisioned)
    refer_to_another_secret(cluster, provisioned)
    write_password(cluster, secret_of(provisioned)["metadata"]["name"], "chosen-by-a-person-2")
    project = follow(provisioned, lambda project: project.reason == Reason.SECRET_REPLACED)
    assert sandbox_url(project) == url
    assert connects(url)


# --- Other roles of the server ---------------------------------------------------------------------------------------


@pytest.fixture
def with_roles(provisioned) -> Iterator[psycopg.Connection]:
    """A session of a server with the roles of replicas (KubeBlocks gives it the superuser's password) and of an
    application."""
    connection = provisioned.database.connection
    with psycopg.connect(connection.url, autocommit=True) as session:
        password = sql.Literal(connection.password)
        session.execute(sql.SQL("CREATE ROLE standby LOGIN REPLICATION PASSWORD {}").format(password))
        session.execute(sql.SQL("CREATE ROLE app LOGIN PASSWORD {}").format(password))
        yield session


def as_role(url: str, role: str) -> str:
    return url.replace("//postgres:", f"//{role}:")


def test_role_of_the_replicas_gets_the_new_password(provisioned, with_roles):
    old = provisioned.database.connection.url
    new = assert_one_truth(rotate(provisioned))
    assert connects(as_role(new, "standby"))
    assert not connects(as_role(old, "standby"))
    # Not the panel's to change, whatever its password is.
    assert connects(as_role(old, "app"))


def test_role_of_the_replicas_with_its_own_password_keeps_it(provisioned, with_roles):
    with_roles.execute("ALTER ROLE standby PASSWORD 'of-its-own-123'")
    old = provisioned.database.connection
    assert_one_truth(rotate(provisioned))
    assert connects(as_role(old.url, "standby").replace(old.password, "of-its-own-123"))


def test_reverted_rotation_reverts_the_role_of_the_replicas(provisioned, cluster, with_roles, monkeypatch):
    old = provisioned.database.connection.url
    new = begin_change_and_die(provisioned, monkeypatch).url
    assert connects(as_role(new, "standby"))
    patch_secret(cluster, provisioned, {"immutable": True})
    assert assert_one_truth(follow(provisioned, is_settled)) == old
    assert connects(as_role(old, "standby"))
    assert not connects(as_role(new, "standby"))


def test_event_says_what_needs_a_restart(provisioned):
    message = rotate(provisioned).events.get(reason="PasswordRotated").message
    for word in ("6432", "metrics", "replicas", "OpsRequest of type Restart"):
        assert word in message


def test_other_secrets_of_the_cluster_are_proved_before_the_first_is_written(provisioned, cluster):
    """KubeBlocks 0.8 and 0.9 write two Secrets with the password: one that can't be written stops both."""
    source = secret_of(provisioned)
    labels = {**source["metadata"]["labels"]}
    labels.pop("apps.kubeblocks.io/system-account", None)
    rest = administrator_of(cluster)
    name = f"{provisioned.database.name}-conn-credential"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": dict(source["data"]),
        "immutable": True,
    }
    rest.send("POST", SECRETS, body)
    try:
        stored, password = stored_on_server(provisioned), password_in(source)
        assert request_password_rotation(provisioned, actor="maria").accepted
        run_pass(provisioned.pk)
        assert f"the Secret {name} is immutable" in provisioned.events.get(reason="PasswordNotChanged").message
        assert stored_on_server(provisioned) == stored
        now = rest.send("GET", f"{SECRETS}/{source['metadata']['name']}")
        assert base64.b64decode(now["data"]["password"]).decode() == password
    finally:
        rest.send("DELETE", f"{SECRETS}/{name}")
        rest.close()
