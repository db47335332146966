"""Rotates the password of a project's database so that it is never lost: docs/decisions/0005.

Each step first checks what is done already (which password the server accepts, which one the Secret holds), so it may
be interrupted anywhere and repeated. The new password is stored, encrypted, before the server gets it.
"""

import secrets
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from psycopg import sql

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.connection import Connection
from projects.domain.states import Level
from projects.models import DatabaseCluster
from provisioning.decisions.readiness import is_past
from provisioning.decisions.types import Verification
from provisioning.objects.credentials import Missing, choose_secret, component_of, holds
from provisioning.objects.readers import Object
from provisioning.objects.secret_writes import explain_source, find_source
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import observe_connection
from provisioning.reconcile.secret_writes import (
    UnwritableError,
    prove_sandbox_restart,
    prove_writable,
    write_password,
)
from provisioning.reconcile.verify import LONGEST_PROOF, open_session, verify_connection

_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
# The user of replicas in the PostgreSQL addon of KubeBlocks (PGUSER_STANDBY).
_REPLICAS_ROLE = "standby"
_IN_PROGRESS = "The password is being changed."
# More steps than a rotation takes.
_MOST_STEPS = 6
# The server ends a session that is idle for longer between the check of the lease and the statement that follows.
_MOST_IDLE_MS = 2000
# A server that loses a confirmed commit would have the old password after the panel has dropped it.
_SESSION_OPTIONS = {"idle_in_transaction_session_timeout": _MOST_IDLE_MS, "synchronous_commit": "on"}
# The longest time to set a password: idle, the statement, its answer.
_SETTING = timedelta(milliseconds=_MOST_IDLE_MS, seconds=4)
# The longest time to set a password, verify it, and set the old one again.
_CHANGE = _SETTING + LONGEST_PROOF + _SETTING

_NEITHER = (
    "The server accepts neither the current password nor the new one, which may be set already. If it refuses the user "
    "for now (VALID UNTIL, pg_hba.conf), allow log-ins again. If somebody set another password, put that one into the "
    "database's Secret, or set the Secret's password again with psql in the database's Pod. Then press Check again or "
    "Retry. The panel keeps both passwords until then."
)


class RotationDelayedError(Exception):
    """The rotation can't continue now and is retried. The message says why and holds no secret."""


class _InterruptedError(Exception):
    """The step can't be completed now: whether the server has the new password may be unknown. The message says why and
    holds no secret."""


def rotate_password(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Take the next step of a rotation. Raises KubeError, RotationDelayedError, LeaseLostError."""
    # If the current password can't be decrypted anymore, the server may have the new one already.
    current = database.connection or database.pending_connection
    if current is None:
        _abandon(context, database, "the panel does not know the current password")
        return
    source = find_source(context.snapshot.cluster)
    if source and database.rotation_begun_at is None:
        _abandon(context, database, explain_source(source, context.snapshot.cluster, database.name))
        return
    if not database.pending_password:
        _save(context, database, pending_password=EncryptedText.of(_new_password()))
    pending = replace(current, password=database.pending_password.reveal())
    note = _change_on_server(context, database, current, pending, now)
    if not note:
        return
    try:
        _write_secrets(context, database, current, pending)
    except UnwritableError as error:
        # Proved before the change, and no longer true; or begun by a version that did not prove it.
        _revert(context, database, current, pending, str(error))
    else:
        _finish(context, database, note, now)


def finish_rotation(context: PassContext, name: str, cluster: Object, now: datetime) -> None:
    """Finish a rotation that has begun, before the Cluster `name` is released. Raises as `rotate_password`.

    `cluster`: the Cluster as just read; the names of its Secret and its Service depend on it.
    """
    for database in context.project.databases.filter(name=name, retired_at=None).exclude(rotation_begun_at=None):
        context.snapshot.cluster = cluster
        for _ in range(_MOST_STEPS):
            if database.rotation_requested_at is None:
                return
            rotate_password(context, database, now)


def _new_password() -> str:
    """Return a password that every client, shell and URL takes as it is: 190 bits of letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


# --- The server ------------------------------------------------------------------------------------------------


def _change_on_server(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection, now: datetime
) -> str:
    """Make the server accept the new password; return the sentence that says so, "" if the rotation is abandoned.
    Raises KubeError, RotationDelayedError."""
    verification, note = verify_connection(current)
    if verification is Verification.VERIFIED:
        try:
            _prove_later_steps(context, database, current, pending)
            verification, note = _alter(context, database, current, pending, now)
        except UnwritableError as error:
            _abandon(context, database, str(error))
            return ""
        except _InterruptedError as error:
            note = str(error)
        else:
            if verification is Verification.VERIFIED:
                return note
            # The server has the old password: the rotation has not begun, and may be abandoned.
            _save(context, database, rotation_begun_at=None)
    elif verification is Verification.REJECTED:
        verification, note = verify_connection(pending)
        if verification is Verification.VERIFIED:
            return note
        if verification is Verification.REJECTED and database.rotation_begun_at is None:
            _abandon(context, database, "the server accepts neither the current password nor the new one")
            return ""
        if verification is Verification.REJECTED:
            # The server may refuse its own password for a while: drop neither before a third one is verified.
            if _is_another_in_force(context, database, current, pending):
                _abandon(context, database, "the server has another one, which is in its Secret")
                return ""
            note = _NEITHER
    deadline = (database.rotation_requested_at or now) + timedelta(seconds=settings.READY_TIMEOUT_S)
    if database.rotation_begun_at is None and is_past(deadline, now):
        _abandon(context, database, note)
        return ""
    raise RotationDelayedError(
        f"The password of {database.name} is not rotated yet. {note} The panel retries automatically."
    )


def _is_another_in_force(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection
) -> bool:
    """Whether the Secret has other credentials than these two, and the server accepts them. Raises KubeError."""
    context.snapshot.secrets = None
    found = observe_connection(context, database)
    if isinstance(found, Missing) or found in (current, pending):
        return False
    return verify_connection(found)[0] is Verification.VERIFIED


def _prove_later_steps(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection
) -> None:
    """Prove, by dry runs, that what follows the change on the server can succeed. Raises KubeError, _InterruptedError,
    UnwritableError."""
    for secret in _find_secrets(context, database, current, pending):
        prove_writable(context, secret, current.username, pending.password)
    prove_sandbox_restart(context, pending)


def _find_roles(session: psycopg.Connection[Any], login: Connection) -> list[str]:
    """Return the roles whose password is changed together: the user, and the role of the replicas if it has the same
    password, as KubeBlocks' PostgreSQL addon sets it up (PGPASSWORD_STANDBY). Raises psycopg.Error."""
    query = "SELECT 1 FROM pg_roles WHERE rolname = %s AND rolcanlogin AND rolreplication"
    is_candidate = login.username != _REPLICAS_ROLE and session.execute(query, [_REPLICAS_ROLE]).fetchone()
    is_shared = is_candidate and verify_connection(replace(login, username=_REPLICAS_ROLE))[0] is Verification.VERIFIED
    return [login.username, _REPLICAS_ROLE] if is_shared else [login.username]


def _alter(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection, now: datetime
) -> tuple[Verification, str]:
    """Set the new password and connect with it; if that fails, set the old one again in the open session.

    Return the outcome of connecting, or that the server refuses the change. Raises LeaseLostError, and
    _InterruptedError: the next pass has both passwords and finds out which one the server accepts.
    """
    where = f"{current.host}:{current.port}"
    try:
        with open_session(current, autocommit=True, options=_SESSION_OPTIONS) as session:
            try:
                roles = _find_roles(session, current)
                # Rolled back: proves that the server lets this role change the passwords.
                with session.transaction(force_rollback=True):
                    _execute_change(session, roles, pending)
                begun = {"rotation_begun_at": now, "verified_at": None, "verification_note": _IN_PROGRESS}
                _set_password(context, database, session, roles, pending, _CHANGE, **begun)
            except psycopg.Error as error:
                if session.broken:
                    raise
                return (
                    Verification.REFUSED,
                    f"The server at {where} refuses to change the password ({type(error).__name__}).",
                )
            verification, note = verify_connection(pending)
            if verification is not Verification.VERIFIED:
                _set_password(context, database, session, roles, current, _SETTING)
            return verification, note
    except psycopg.Error as error:
        raise _InterruptedError(
            f"The connection to {where} broke during the change ({type(error).__name__})."
        ) from None


def _set_password(
    context: PassContext,
    database: DatabaseCluster,
    session: psycopg.Connection[Any],
    roles: Sequence[str],
    wanted: Connection,
    needed: timedelta,
    **values: object,
) -> None:
    """Write `values` to the row and set the password of the roles, if the lease lasts as long as `needed`. Raises
    LeaseLostError, _InterruptedError, psycopg.Error."""
    # In a transaction: if the worker stalls after the check of the lease, the server ends the session.
    with session.transaction():
        if not context.lease.has_time_left(timezone.now(), needed):
            raise _InterruptedError("The rotation took too long for this pass; the next pass continues it.")
        _save(context, database, **values)
        _execute_change(session, roles, wanted)


def _execute_change(session: psycopg.Connection[Any], roles: Sequence[str], wanted: Connection) -> None:
    """Set the password of the roles. The statement has the verifier that the server stores, not the password, as
    statements are logged. Raises psycopg.Error."""
    for role in roles:
        stored = session.pgconn.encrypt_password(wanted.password.encode(), role.encode())
        change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(stored.decode()))
        session.execute(change)


# --- The Secrets and the row -----------------------------------------------------------------------------------


def _find_secrets(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection
) -> list[Object]:
    """Return the Secrets that need the new password: the one with the credentials, and each of the Cluster with the old
    password. Raises KubeError, _InterruptedError."""
    snapshot = context.snapshot
    snapshot.secrets = None
    found = observe_connection(context, database)
    source = choose_secret(snapshot.secrets or [], database.name, component_of(snapshot.cluster))
    if source is None or isinstance(found, Missing):
        raise _InterruptedError(found.message if isinstance(found, Missing) else "The Secret does not exist.")
    secrets_read: Sequence[Object] = snapshot.secrets or []
    return [
        secret
        for secret in secrets_read
        if (secret is source and found.username == current.username and found.password != pending.password)
        or holds(secret, current.username, current.password)
    ]


def _write_secrets(context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection) -> None:
    """Write the new password to the Secrets. Raises KubeError, RotationDelayedError, UnwritableError."""
    try:
        doomed = _find_secrets(context, database, current, pending)
    except _InterruptedError as error:
        raise RotationDelayedError(f"{database.name} has its new password, but no Secret has it yet. {error}") from None
    for secret in doomed:
        prove_writable(context, secret, current.username, pending.password)
    for secret in doomed:
        write_password(context, secret, pending.password)
    context.snapshot.secrets = None


def _revert(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection, obstacle: str
) -> None:
    """No Secret can take the new password, which the server has: set the old one again, and abandon the rotation.

    Raises KubeError, and RotationDelayedError where that is impossible now.
    """
    stuck = RotationDelayedError(
        f"The server of {database.name} has its new password, which can't be written: {obstacle}. Until then, only the "
        "panel knows the new password, and other clients can't log in. The panel retries automatically."
    )
    are_some_written = any(
        holds(secret, pending.username, pending.password) for secret in context.snapshot.secrets or []
    )
    if current.password == pending.password or are_some_written:
        raise stuck
    try:
        with open_session(pending, autocommit=True, options=_SESSION_OPTIONS) as session:
            roles = _find_roles(session, pending)
            _set_password(context, database, session, roles, current, _SETTING + LONGEST_PROOF)
            verification, _ = verify_connection(current)
            if verification is not Verification.VERIFIED:
                _set_password(context, database, session, roles, pending, _SETTING)
                raise stuck
    except (psycopg.Error, _InterruptedError):
        raise stuck from None
    _abandon(context, database, f"{obstacle}. The previous password is in force again")


def _finish(context: PassContext, database: DatabaseCluster, note: str, now: datetime) -> None:
    """Make the new password the captured one. The sandbox restarts because its environment changes."""
    context.note(
        "PasswordRotated",
        f"Rotated the password of {database.name}: verified by a connection and written to its Secret. The sandbox "
        "restarts with it. Restart the database's Pods (OpsRequest of type Restart) before you use its connection "
        "pooler (port 6432), metrics or replicas: they read the password when they start.",
        resource=f"database {database.name}",
    )
    _save(
        context,
        database,
        password=database.pending_password,
        pending_password=EncryptedText(),
        rotation_requested_at=None,
        rotation_begun_at=None,
        captured_at=now,
        verified_at=now,
        proved_at=now,
        secret_replaced_at=None,
        replacement_choice="",
        verification_note=note,
    )


def _abandon(context: PassContext, database: DatabaseCluster, why: str) -> None:
    """End a rotation that can't be done. The captured credentials stay, and are read and verified again."""
    context.note(
        "PasswordNotChanged",
        f"The password of {database.name} was not rotated: {why.rstrip('.')}.",
        resource=f"database {database.name}",
        level=Level.ERROR,
    )
    _save(
        context,
        database,
        pending_password=EncryptedText(),
        rotation_requested_at=None,
        rotation_begun_at=None,
        verified_at=None,
        verification_note="" if database.verification_note == _IN_PROGRESS else database.verification_note,
    )
    context.snapshot.forget_credentials()


def _save(context: PassContext, database: DatabaseCluster, **values: object) -> None:
    """Write values to the row, and all other changes, under the lease. Raises LeaseLostError."""
    with transaction.atomic():
        context.store()
        for name, value in values.items():
            setattr(database, name, value)
        database.save(update_fields=list(values))
