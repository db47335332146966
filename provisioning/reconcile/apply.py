"""From an action to its effect. An effect may be repeated, and leaves what it changed on the context."""

from datetime import datetime
from typing import assert_never

from projects.domain.states import CredentialsSource
from provisioning.decisions.types import Action
from provisioning.reconcile.apply_database import (
    adopt_cluster,
    apply_cluster,
    capture_credentials,
    ensure_database,
    replace_database,
)
from provisioning.reconcile.apply_sandbox import apply_sandbox, sandbox_connection
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.drift import revert_drift
from provisioning.reconcile.replaced_secret import restore_secret, use_secret
from provisioning.reconcile.rotate_password import rotate_password
from provisioning.reconcile.teardown import delete_objects, finish_cancellation, finish_deletion, release_clusters

_DATABASE_EFFECTS = {
    Action.APPLY_CLUSTER: apply_cluster,
    Action.ADOPT_CLUSTER: adopt_cluster,
    Action.REPLACE_DATABASE: replace_database,
    Action.CAPTURE_CREDENTIALS: capture_credentials,
    Action.RESTORE_SECRET: restore_secret,
    Action.USE_SECRET: use_secret,
    Action.ROTATE_PASSWORD: rotate_password,
}


def apply_action(action: Action, context: PassContext, now: datetime) -> None:
    """Carry out the action. Raises KubeError, RotationDelayedError, UndecryptableValueError and LeaseLostError.

    `decide` returns an action on a database, or with credentials, only where there are some.
    """
    match action:
        case Action.ENSURE_DATABASE:
            ensure_database(context)
        case (
            Action.APPLY_CLUSTER
            | Action.ADOPT_CLUSTER
            | Action.REPLACE_DATABASE
            | Action.CAPTURE_CREDENTIALS
            | Action.RESTORE_SECRET
            | Action.USE_SECRET
            | Action.ROTATE_PASSWORD
        ):
            if context.database is not None:
                _DATABASE_EFFECTS[action](context, context.database, now)
        case Action.APPLY_SANDBOX | Action.APPLY_SANDBOX_WITH_DEFAULT:
            is_default = action is Action.APPLY_SANDBOX_WITH_DEFAULT
            source = CredentialsSource.DEFAULT if is_default else CredentialsSource.CAPTURED
            if connection := sandbox_connection(context, source):
                apply_sandbox(context, connection, source, now)
        case Action.REVERT_DRIFT:
            if connection := sandbox_connection(context, CredentialsSource.CAPTURED):
                revert_drift(context, connection, now)
        case Action.DELETE_OBJECTS:
            delete_objects(context)
        case Action.RELEASE_CLUSTER:
            release_clusters(context, now)
        case Action.FINISH_DELETION:
            finish_deletion(context, now)
        case Action.FINISH_CANCELLATION:
            finish_cancellation(context, now)
        case _:
            assert_never(action)
