"""Changes of a password, and where they get stuck: what several tests of them do and look at."""

import base64

import psycopg
import pytest

from projects.domain.connection import Connection
from projects.models import DatabaseCluster, Project
from projects.services.password_rotation import request_password_rotation
from provisioning.kube.client import connect
from provisioning.kube.kinds import SECRET
from provisioning.objects.manifests import environment_secret_name
from provisioning.objects.readers import Object
from provisioning.reconcile import rotate_password
from provisioning.reconcile.loop import run_pass
from tests.support.passes import follow, is_running


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
    """KubeBlocks' Secret of the superuser."""
    secret = connect().get_or_none(SECRET, "default", f"{project.database.name}-postgresql-account-postgres")
    assert secret is not None
    return secret


def password_in(secret: Object) -> str:
    return base64.b64decode(secret["data"]["password"]).decode()


def sandbox_url(project: Project) -> str:
    secret = connect().get_or_none(SECRET, "default", environment_secret_name(project.sandbox.name))
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


class KilledError(BaseException):
    """Ends a pass as kill -9 does: nothing after it runs, not even the release of the lease."""


def kill_after_effect(patch, number):
    """Kill the pass right behind the n-th thing that it does to the server or to the cluster."""
    effects = iter(range(1, number))
    for name in ("_set_password", "write_password"):
        original = getattr(rotate_password, name)

        def killed(*args, _original=original, **options):
            result = _original(*args, **options)
            if next(effects, None) is None:
                raise KilledError
            return result

        patch.setattr(rotate_password, name, killed)


def begin_change_and_die(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, with_adopted: bool = False
) -> Connection:
    """Ask for another password; the worker is killed when the server has it and the Secret does not, and its lease
    ends. Return how the server is reached from then on."""
    assert request_password_rotation(project, actor="maria", with_adopted=with_adopted).accepted
    with monkeypatch.context() as patch:
        kill_after_effect(patch, 1)
        with pytest.raises(KilledError):
            run_pass(project.pk)
    Project.objects.filter(pk=project.pk).update(lease_token=None, lease_until=None)
    pending = DatabaseCluster.objects.get(project=project, retired_at=None).pending_connection
    assert pending is not None
    return pending
