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
from psycopg import sql

from projects.connection import Connection
from projects.fields import EncryptedText
from projects.models import DatabaseCluster
from projects.states import Level
from provisioning import kube as k
from provisioning import observing
from provisioning.credentials import ACCOUNT, Missing, choose_secret, component_of, holds
from provisioning.readiness import Object, is_past, mapping, metadata_of, objects, text
from provisioning.scene import Scene
from provisioning.terms import Verification
from provisioning.verifying import open_session, verify_connection

_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
# Far more steps than a change takes.
_MOST_STEPS = 6


class RotationDelayedError(Exception):
    """The change can't go on now and is tried again; the text says why, in a sentence without anything secret."""


def rotate_password(scene: Scene, now: datetime) -> None:
    """Take the next step of a change of the live database's password. Raises KubeError and RotationDelayedError."""
    if scene.database is not None:
        _rotate(scene, scene.database, now)


def finish_rotation(scene: Scene, name: str, cluster: Object, now: datetime) -> None:
    """Bring a change that has begun to its end, before the database called `name` is given back. Raises as above.

    `cluster`, as just read, says what the Secret and the Service of its component are called.
    """
    for database in scene.project.databases.filter(name=name, retired_at=None).exclude(rotation_begun_at=None):
        scene.world.cluster = cluster
        for _ in range(_MOST_STEPS):
            if database.rotation_requested_at is None:
                return
            _rotate(scene, database, now)


def _rotate(scene: Scene, database: DatabaseCluster, now: datetime) -> None:
    # Where the old one's key is lost and was given up, the server is asked whether it has the new one already.
    current = database.connection or database.pending_connection
    if current is None:
        _give_up(scene, database, "the panel has no password of it")
        return
    if not database.pending_password:
        elsewhere = _find_source(scene.world.cluster)
        if elsewhere:
            _give_up(scene, database, f"KubeBlocks takes it from the Secret {elsewhere}: change it there")
            return
        _save(scene, database, pending_password=EncryptedText.of(_new_password()))
    pending = replace(current, password=database.pending_password.reveal())
    note = _change_on_server(scene, database, current, pending, now)
    if note:
        _write_secrets(scene, database, current, pending)
        _finish(scene, database, note, now)


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
    scene: Scene, database: DatabaseCluster, current: Connection, pending: Connection, now: datetime
) -> str:
    """See to it that the server takes the new password; return the sentence that says so, "" where it was given up."""
    verification, note = verify_connection(current)
    if verification is Verification.VERIFIED:
        _save(scene, database, rotation_begun_at=now)
        verification, note = _alter(current, pending)
        if verification is Verification.VERIFIED:
            return note
        # Taken back: nothing has begun, so that it may be given up.
        _save(scene, database, rotation_begun_at=None)
    elif verification is Verification.REJECTED:
        verification, note = verify_connection(pending)
        if verification is Verification.VERIFIED:
            return note
        if verification is Verification.REJECTED:
            _give_up(scene, database, "the server takes neither the password that the panel has nor the new one")
            return ""
    deadline = (database.rotation_requested_at or now) + timedelta(seconds=settings.READY_TIMEOUT_S)
    if database.rotation_begun_at is None and is_past(deadline, now):
        _give_up(scene, database, note)
        return ""
    raise RotationDelayedError(f"The password of {database.name} is not changed yet. {note} The panel tries again.")


def _alter(current: Connection, pending: Connection) -> tuple[Verification, str]:
    """Change the password, prove it with a connection, and take it back over the open session if it is not accepted.

    Returns what came of the proof. Raises RotationDelayedError where what is so now is not known: the next try sees.
    """
    try:
        with open_session(current, autocommit=True) as session:
            _set_password(session, pending)
            verification, note = verify_connection(pending)
            if verification is not Verification.VERIFIED:
                _set_password(session, current)
            return verification, note
    except psycopg.Error as error:
        where = f"{current.host}:{current.port}"
        raise RotationDelayedError(
            f"The password of {current.username} at {where} could not be changed ({type(error).__name__}). The panel "
            "tries again."
        ) from None


def _set_password(session: psycopg.Connection[Any], wanted: Connection) -> None:
    """Send the server what it stores of a password, never the password itself: statements end up in logs."""
    stored = session.pgconn.encrypt_password(wanted.password.encode(), wanted.username.encode())
    role, verifier = sql.Identifier(wanted.username), sql.Literal(stored.decode())
    session.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, verifier))


# --- The Secrets and the row -----------------------------------------------------------------------------------


def _write_secrets(scene: Scene, database: DatabaseCluster, current: Connection, pending: Connection) -> None:
    """Put the new password into the Secret that the credentials come from, and into each other one of the Cluster that
    holds the old one. Raises KubeError, RotationDelayedError."""
    world = scene.world
    world.secrets = None
    found = observing.observe_connection(world, database)
    source = choose_secret(world.secrets or [], database.name, component_of(world.cluster))
    if source is None or isinstance(found, Missing):
        why = found.message if isinstance(found, Missing) else "Its Secret is gone."
        raise RotationDelayedError(f"{database.name} has its new password, which no Secret holds yet. {why}")
    secrets_read: Sequence[Object] = world.secrets or []
    for secret in secrets_read:
        is_meant = secret is source and found.username == current.username and found.password != pending.password
        if is_meant or holds(secret, current.username, current.password):
            _write_secret(scene, secret, pending.password)
    world.secrets = None


def _write_secret(scene: Scene, secret: Object, password: str) -> None:
    """Set the password in a Secret, if it is still as it was read. Raises KubeError, which never quotes it."""
    metadata = metadata_of(secret)
    namespace, name = text(metadata.get("namespace")), text(metadata.get("name"))
    seen = {"uid": metadata.get("uid"), "resourceVersion": metadata.get("resourceVersion")}
    data = {"password": base64.b64encode(password.encode()).decode()}
    scene.lease.write()
    try:
        scene.world.kube.merge(k.SECRET, namespace, name, {"metadata": seen, "data": data})
    except k.RefusedError as error:
        said = f"The API server refused the new password in the Secret {name} ({error.code} {error.reason})."
        raise k.RefusedError(error.code, error.reason, said, error.retry_after_s) from None


def _finish(scene: Scene, database: DatabaseCluster, note: str, now: datetime) -> None:
    """Make the new password the row's; the sandbox restarts because its environment is another now."""
    scene.note(
        "PasswordRotated",
        f"The password of {database.name} was changed, proved by a connection and written to its Secret; the "
        "sandbox restarts with it.",
        resource=f"database {database.name}",
    )
    _save(
        scene,
        database,
        password=database.pending_password,
        pending_password=EncryptedText(),
        rotation_requested_at=None,
        rotation_begun_at=None,
        captured_at=now,
        verified_at=now,
        verification_note=note,
    )
    scene.world.verification = None


def _give_up(scene: Scene, database: DatabaseCluster, why: str) -> None:
    """End a change that can't be done; the credentials are as they were, and are looked at anew."""
    scene.note(
        "PasswordNotChanged",
        f"The password of {database.name} stays as it is: {why.rstrip('.')}.",
        resource=f"database {database.name}",
        level=Level.ERROR,
    )
    _save(
        scene,
        database,
        pending_password=EncryptedText(),
        rotation_requested_at=None,
        rotation_begun_at=None,
        verified_at=None,
    )
    scene.world.secrets = scene.world.verification = None


def _save(scene: Scene, database: DatabaseCluster, **values: object) -> None:
    """Write values to the row under the lease, and what was noted before. Raises LeaseLostError."""
    with transaction.atomic():
        scene.store()
        for name, value in values.items():
            setattr(database, name, value)
        database.save(update_fields=list(values))
