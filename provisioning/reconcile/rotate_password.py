"""Changing the password of a project's database, so that at no point nobody knows it: docs/decisions/0005.

Every step looks first at what is so already (which password the server takes, what the Secret holds), so it may be
killed anywhere and begin again. The new password is stored, encrypted, before the server is told.
"""

import base64
import secrets
import string
from collections.abc import Mapping, Sequence
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
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import SECRET
from provisioning.objects.credentials import ACCOUNT, Missing, choose_secret, component_of, holds
from provisioning.objects.readers import Object, mapping, metadata_of, objects, text
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import observe_connection
from provisioning.reconcile.verify import LONGEST_PROOF, open_session, verify_connection

_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
# Far more steps than a change takes.
_MOST_STEPS = 6
# The server ends a session that keeps it waiting so long between a look at the lease and what was to follow.
_MOST_IDLE_MS = 2000
# The longest that it takes until the server has a password: so long idle, the statement, its answer.
_SETTING = timedelta(milliseconds=_MOST_IDLE_MS, seconds=4)
# And with the proof of it and taking it back.
_CHANGE = _SETTING + LONGEST_PROOF + _SETTING

_NEITHER = (
    "Its server takes neither the password that the panel has nor the new one, which it may have been given. If it "
    "refuses the user for now (VALID UNTIL, pg_hba.conf), let it take passwords again. If somebody has set "
    "another password, put that one into the database's Secret, or set the Secret's again with psql in the database's "
    "Pod. Check again (or Retry) has the panel look at once; until then it keeps both."
)


class RotationDelayedError(Exception):
    """The change can't go on now and is tried again; the text says why, in a sentence without anything secret."""


class _InterruptedError(Exception):
    """Nothing says whether the server has the new password, where it was begun; the text says why, without secrets."""


def rotate_password(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Take the next step of changing the database's password. Raises KubeError, RotationDelayedError."""
    # Where the old one's key is lost and was given up, the server is asked whether it has the new one already.
    current = database.connection or database.pending_connection
    if current is None:
        _abandon(context, database, "the panel has no password of it")
        return
    if not database.pending_password:
        elsewhere = _find_source(context.snapshot.cluster)
        if elsewhere:
            _abandon(context, database, f"KubeBlocks takes it from the Secret {elsewhere}: change it there")
            return
        _save(context, database, pending_password=EncryptedText.of(_new_password()))
    pending = replace(current, password=database.pending_password.reveal())
    note = _change_on_server(context, database, current, pending, now)
    if note:
        _write_secrets(context, database, current, pending)
        _finish(context, database, note, now)


def finish_rotation(context: PassContext, name: str, cluster: Object, now: datetime) -> None:
    """Bring a change that has begun to its end, before the database called `name` is given back. Raises as above.

    `cluster`, as just read, says what the Secret and the Service of its component are called.
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


def _find_source(cluster: Mapping[str, Any] | None) -> str:
    """Return the Secret from which a Cluster's spec tells KubeBlocks to take the password; "" for none.

    KubeBlocks (1.0) leaves the password of an account's Secret alone once it exists, unless the account has such a
    `secretRef`: then it writes that one's password back.
    """
    for component in objects(mapping(mapping(cluster).get("spec")).get("componentSpecs")):
        for account in objects(component.get("systemAccounts")):
            if account.get("name") == ACCOUNT and account.get("secretRef"):
                return text(mapping(account.get("secretRef")).get("name")) or "that its spec names"
    return ""


# --- The server ------------------------------------------------------------------------------------------------


def _change_on_server(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection, now: datetime
) -> str:
    """See to it that the server takes the new password; return the sentence that says so, "" where it was given up.
    Raises KubeError, RotationDelayedError."""
    verification, note = verify_connection(current)
    if verification is Verification.VERIFIED:
        try:
            verification, note = _alter(context, database, current, pending, now)
        except _InterruptedError as error:
            note = str(error)
        else:
            if verification is Verification.VERIFIED:
                return note
            # Refused or taken back: nothing has begun, so that it may be given up.
            _save(context, database, rotation_begun_at=None)
    elif verification is Verification.REJECTED:
        verification, note = verify_connection(pending)
        if verification is Verification.VERIFIED:
            return note
        if verification is Verification.REJECTED and database.rotation_begun_at is None:
            _abandon(context, database, "the server takes neither the password that the panel has nor the new one")
            return ""
        if verification is Verification.REJECTED:
            # One of them may be in force and refused for a while: neither is dropped before a third one is proved.
            if _is_another_in_force(context, database, current, pending):
                _abandon(context, database, "another one is in force, which its Secret has")
                return ""
            note = _NEITHER
    deadline = (database.rotation_requested_at or now) + timedelta(seconds=settings.READY_TIMEOUT_S)
    if database.rotation_begun_at is None and is_past(deadline, now):
        _abandon(context, database, note)
        return ""
    raise RotationDelayedError(f"The password of {database.name} is not changed yet. {note} The panel tries again.")


def _is_another_in_force(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection
) -> bool:
    """Whether the Secret has other credentials than these two and the server takes them. Raises KubeError."""
    context.snapshot.secrets = None
    found = observe_connection(context, database)
    if isinstance(found, Missing) or found in (current, pending):
        return False
    return verify_connection(found)[0] is Verification.VERIFIED


def _alter(
    context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection, now: datetime
) -> tuple[Verification, str]:
    """Change the password, prove it with a connection, and take it back over the open session if it is not accepted.

    Returns what came of the proof, or that the server refuses the change. Raises LeaseLostError, and _InterruptedError:
    the next pass, which has both passwords, asks the server which one it takes.
    """
    where = f"{current.host}:{current.port}"
    try:
        # A server that loses what it has confirmed would have the old password again when the panel has it no more.
        options = {"idle_in_transaction_session_timeout": _MOST_IDLE_MS, "synchronous_commit": "on"}
        with open_session(current, autocommit=True, options=options) as session:
            try:
                _set_password(context, database, session, pending, _CHANGE, rotation_begun_at=now)
            except psycopg.Error as error:
                if session.broken:
                    raise
                return Verification.REFUSED, f"The server at {where} refuses to change it ({type(error).__name__})."
            verification, note = verify_connection(pending)
            if verification is not Verification.VERIFIED:
                _set_password(context, database, session, current, _SETTING)
            return verification, note
    except psycopg.Error as error:
        raise _InterruptedError(f"The change at {where} came to nothing ({type(error).__name__}).") from None


def _set_password(
    context: PassContext,
    database: DatabaseCluster,
    session: psycopg.Connection[Any],
    wanted: Connection,
    needed: timedelta,
    **values: object,
) -> None:
    """Write `values` to the row and set the password, if as much of the lease is left as is `needed`.

    The server gets what it stores of a password, never the password itself: statements end up in logs. Raises
    LeaseLostError, _InterruptedError.
    """
    stored = session.pgconn.encrypt_password(wanted.password.encode(), wanted.username.encode())
    role, verifier = sql.Identifier(wanted.username), sql.Literal(stored.decode())
    # In a transaction: a worker that stalls behind its look at the lease finds its session ended by the server.
    with session.transaction():
        if not context.lease.has_time_left(timezone.now(), needed):
            raise _InterruptedError("Everything took so long that the next pass has to go on with it.")
        _save(context, database, **values)
        session.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, verifier))


# --- The Secrets and the row -----------------------------------------------------------------------------------


def _write_secrets(context: PassContext, database: DatabaseCluster, current: Connection, pending: Connection) -> None:
    """Put the new password into the Secret that the credentials come from, and into each other one of the Cluster that
    holds the old one. Raises KubeError, RotationDelayedError."""
    snapshot = context.snapshot
    snapshot.secrets = None
    found = observe_connection(context, database)
    source = choose_secret(snapshot.secrets or [], database.name, component_of(snapshot.cluster))
    if source is None or isinstance(found, Missing):
        why = found.message if isinstance(found, Missing) else "Its Secret is gone."
        raise RotationDelayedError(f"{database.name} has its new password, which no Secret holds yet. {why}")
    secrets_read: Sequence[Object] = snapshot.secrets or []
    for secret in secrets_read:
        is_meant = secret is source and found.username == current.username and found.password != pending.password
        if is_meant or holds(secret, current.username, current.password):
            _write_secret(context, secret, pending.password)
    snapshot.secrets = None


def _write_secret(context: PassContext, secret: Object, password: str) -> None:
    """Set the password in a Secret, if it is still as it was read. Raises KubeError, which never quotes it."""
    metadata = metadata_of(secret)
    namespace, name = text(metadata.get("namespace")), text(metadata.get("name"))
    seen = {"uid": metadata.get("uid"), "resourceVersion": metadata.get("resourceVersion")}
    data = {"password": base64.b64encode(password.encode()).decode()}
    context.lease.write()
    try:
        context.kube.merge(SECRET, namespace, name, {"metadata": seen, "data": data})
    except RefusedError as error:
        said = f"The API server refused the new password in the Secret {name} ({error.code} {error.reason})."
        raise RefusedError(error.code, error.reason, said, error.retry_after_s) from None


def _finish(context: PassContext, database: DatabaseCluster, note: str, now: datetime) -> None:
    """Make the new password the row's; the sandbox restarts because its environment is another now."""
    context.note(
        "PasswordRotated",
        f"The password of {database.name} was changed, proved by a connection and written to its Secret; the "
        "sandbox restarts with it.",
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
        verification_note=note,
    )


def _abandon(context: PassContext, database: DatabaseCluster, why: str) -> None:
    """End a change that can't be done; the credentials are as they were, and are looked at anew."""
    context.note(
        "PasswordNotChanged",
        f"The password of {database.name} stays as it is: {why.rstrip('.')}.",
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
    )
    context.snapshot.forget_credentials()


def _save(context: PassContext, database: DatabaseCluster, **values: object) -> None:
    """Write values to the row under the lease, and what was noted before. Raises LeaseLostError."""
    with transaction.atomic():
        context.store()
        for name, value in values.items():
            setattr(database, name, value)
        database.save(update_fields=list(values))
