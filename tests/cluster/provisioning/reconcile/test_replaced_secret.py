"""A Secret that was created again has a password that the server does not have: the proved one is kept."""

import psycopg
import pytest

from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.replaced_secret import request_restore_secret, request_use_secret
from provisioning.reconcile.loop import run_pass
from tests.cluster.provisioning.reconcile.account_secrets import NEVER_ON_SERVER, patch_secret, replace_secret
from tests.cluster.provisioning.reconcile.password_changes import (
    assert_one_truth,
    connects,
    is_settled,
    password_in,
    rotate,
    sandbox_url,
    secret_of,
)
from tests.support.passes import follow
from tests.support.standin_api import write_password

pytestmark = pytest.mark.django_db


def is_replaced(project: Project) -> bool:
    return project.reason == Reason.SECRET_REPLACED


def is_in_order(project: Project) -> bool:
    return is_settled(project) and project.reason == Reason.READY


def check_kept(project: Project, url: str, applied_at: object) -> None:
    assert project.phase == Phase.RUNNING
    assert project.database.connection.url == url
    assert sandbox_url(project) == url
    assert connects(url)
    assert project.sandbox.applied_at == applied_at


def test_proved_password_is_kept_when_the_secret_is_replaced(provisioned, cluster):
    url, applied_at = assert_one_truth(provisioned), provisioned.sandbox.applied_at
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    check_kept(project, url, applied_at)
    assert project.database.is_verified
    assert project.database.has_replaced_secret
    event = project.events.get(reason="SecretReplaced")
    assert "does not accept" in event.message
    run_pass(project.pk)
    assert project.events.filter(reason="SecretReplaced").count() == 1
    messages = " ".join(event.message for event in project.events.all())
    assert NEVER_ON_SERVER not in messages
    assert url not in messages


def test_secret_changed_in_place_is_a_candidate_too(provisioned, cluster):
    url, applied_at = assert_one_truth(provisioned), provisioned.sandbox.applied_at
    write_password(cluster, secret_of(provisioned)["metadata"]["name"], NEVER_ON_SERVER)
    check_kept(follow(provisioned, is_replaced), url, applied_at)


def test_candidate_is_used_once_the_server_accepts_it(provisioned, cluster):
    url = assert_one_truth(provisioned)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    follow(provisioned, is_replaced)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"ALTER ROLE postgres PASSWORD '{NEVER_ON_SERVER}'")
    project = follow(provisioned, is_in_order)
    assert NEVER_ON_SERVER in assert_one_truth(project)
    assert not project.database.has_replaced_secret


def test_proved_password_is_written_back_on_request(provisioned, cluster):
    url, applied_at = assert_one_truth(provisioned), provisioned.sandbox.applied_at
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    assert request_restore_secret(project, actor="maria").accepted
    project = follow(project, is_in_order)
    assert assert_one_truth(project) == url
    assert project.sandbox.applied_at == applied_at
    assert project.events.get(reason="SecretRestoreRequested").actor == "maria"
    assert project.events.get(reason="SecretRestored").by_panel


def test_rotation_is_a_way_out_of_a_replaced_secret(provisioned, cluster):
    old = assert_one_truth(provisioned)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = rotate(follow(provisioned, is_replaced))
    assert assert_one_truth(follow(project, is_in_order)) != old


@pytest.mark.parametrize("was_proved", [True, False])
def test_sandbox_is_not_restarted_with_an_unproved_password(provisioned, cluster, settings, was_proved):
    """With VERIFY_CONNECTIONS=false, even if nothing was ever proved: the Secret is another one."""
    url, applied_at = assert_one_truth(provisioned), provisioned.sandbox.applied_at
    settings.VERIFY_CONNECTIONS = False
    if not was_proved:
        DatabaseCluster.objects.filter(project=provisioned).update(verified_at=None, proved_at=None)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    check_kept(project, url, applied_at)
    assert "VERIFY_CONNECTIONS" in project.message
    assert "use_secret" in project.message


def test_user_may_use_an_unproved_password(provisioned, cluster, settings):
    url = assert_one_truth(provisioned)
    settings.VERIFY_CONNECTIONS = False
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"ALTER ROLE postgres PASSWORD '{NEVER_ON_SERVER}'")
    assert request_use_secret(project, actor="maria").accepted
    project = follow(project, is_in_order)
    assert NEVER_ON_SERVER in sandbox_url(project)
    assert connects(sandbox_url(project))
    assert not project.database.is_verified
    assert project.events.get(reason="SecretUseRequested").actor == "maria"


def test_password_that_the_server_rejects_is_not_used_on_request(provisioned, cluster):
    url, applied_at = assert_one_truth(provisioned), provisioned.sandbox.applied_at
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    assert request_use_secret(project, actor="maria").accepted
    project = follow(project, lambda project: project.is_carried_out and is_replaced(project))
    check_kept(project, url, applied_at)
    assert "does not accept" in project.events.get(reason="SecretNotChanged").message


def test_immutable_secret_is_not_written_back(provisioned, cluster):
    url = assert_one_truth(provisioned)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER, immutable=True)
    project = follow(provisioned, is_replaced)
    assert request_restore_secret(project, actor="maria").accepted
    project = follow(project, lambda project: project.is_carried_out and is_replaced(project))
    assert "immutable" in project.events.get(reason="SecretNotChanged").message
    assert project.database.connection.url == url
    # What the message says to do.
    replace_secret(cluster, project)
    assert request_restore_secret(follow(project, is_replaced), actor="maria").accepted
    assert assert_one_truth(follow(project, is_in_order)) == url


def test_failed_request_to_the_api_server_repeats_the_choice(provisioned, cluster):
    url = assert_one_truth(provisioned)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    assert request_restore_secret(project, actor="maria").accepted
    cluster.faults.add("status", verb="patch", resource="secrets", count=2, status=503)
    assert assert_one_truth(follow(project, is_in_order)) == url


def test_neither_password_is_thrown_away(provisioned, cluster):
    """The server has a third password: the panel keeps the proved one, and both ways out work."""
    old = provisioned.database.connection
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    with psycopg.connect(old.url, autocommit=True) as session:
        session.execute("ALTER ROLE postgres PASSWORD 'a-third-one-123'")
        project = follow(project, lambda project: project.reason == Reason.CREDENTIALS_REJECTED)
        assert "neither" in project.message
        assert not project.database.is_verified
        assert project.database.connection == old
        session.execute(f"ALTER ROLE postgres PASSWORD '{old.password}'")
    check_kept(follow(project, is_replaced), old.url, provisioned.sandbox.applied_at)
    assert password_in(secret_of(project)) == NEVER_ON_SERVER


def test_secret_that_is_right_again_ends_the_state(provisioned, cluster):
    url = assert_one_truth(provisioned)
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    project = follow(provisioned, is_replaced)
    write_password(cluster, secret_of(project)["metadata"]["name"], provisioned.database.connection.password)
    project = follow(project, is_in_order)
    assert assert_one_truth(project) == url
    assert not project.database.has_replaced_secret
    refused = request_restore_secret(project, actor="maria")
    assert (refused.accepted, refused.reason) == (False, "SecretInOrder")


def test_secret_with_another_user_is_not_written_back(provisioned, cluster):
    replace_secret(cluster, provisioned, NEVER_ON_SERVER)
    patch_secret(cluster, provisioned, {"stringData": {"username": "somebody"}})
    project = follow(provisioned, is_replaced)
    assert request_restore_secret(project, actor="maria").accepted
    follow(project, lambda project: project.is_carried_out and is_replaced(project))
    assert "another user" in project.events.get(reason="SecretNotChanged").message
