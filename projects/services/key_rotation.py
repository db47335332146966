"""The rotation of encryption keys: re-encrypts every stored secret with the first key while the panel runs. It can be
interrupted and repeated."""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from projects.audit.log import record_bulk_action
from projects.confidential import keyring
from projects.confidential.encrypted_fields import (
    EncryptedText,
    EncryptedTextField,
    UndecryptableValueError,
    decrypt,
    rotate,
)
from projects.confidential.key_files import replace_encryption_keys
from projects.domain.states import Level
from projects.models import DatabaseCluster
from projects.services.events import record_event
from projects.services.intent import lock_project
from projects.services.outcome import RefusedRequestError
from projects.services.queue import enqueue_pass

_BATCH = 200
_PASSWORDS = ("password", "pending_password")
# The encrypted values in the JSON of a second factor: an authenticator app's secret, the seed of recovery codes.
_FACTOR_SECRETS = frozenset({"secret", "seed"})
# A value that was written between reading and writing is read again in the next round.
_MAX_ROUNDS = 5
# After this time, every process that read the keys before a change has stored what it encrypted with them.
KEY_SETTLES = timedelta(minutes=5)


@dataclass
class Rotation:
    """The result of a rotation: the number of stored values, of re-encrypted ones, and the names of those that no key
    decrypts."""

    total: int = 0
    rotated: int = 0
    lost: list[str] = field(default_factory=list)
    # Values that others changed in every round: none, unless the panel is very busy.
    missed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every value is encrypted with the first key, and no other key is needed."""
        return not self.lost and not self.missed


def encrypted_columns() -> Iterator[tuple[type[models.Model], str]]:
    """Yield each model and field that holds secrets, of all apps."""
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField):
                yield model, column.name


def rotate_stored_secrets(*, is_dry_run: bool = False) -> Rotation:
    """Re-encrypt all values that are not encrypted with the first key; for a dry run, only count them. Values that
    others write at the same time are not overwritten."""
    rotation = Rotation()
    for _ in range(_MAX_ROUNDS):
        rotation.total, rotation.missed, rotation.lost = 0, 0, []
        for model, column in encrypted_columns():
            _rotate_column(model, column, rotation, is_dry_run=is_dry_run)
        _rotate_second_factors(rotation, is_dry_run=is_dry_run)
        if not rotation.missed:
            break
    if rotation.rotated and not is_dry_run:
        _record(f"Re-encrypted {rotation.rotated} of {rotation.total} stored secrets with the first key.")
    return rotation


def _record(message: str) -> None:
    record_bulk_action(DatabaseCluster, "KeysRotated", "encryption keys", message)


def _rotate_column(model: type[models.Model], column: str, rotation: Rotation, *, is_dry_run: bool) -> None:
    last = 0
    rows = model._base_manager.exclude(**{column: EncryptedText()}).order_by("pk")
    while batch := list(rows.filter(pk__gt=last).values_list("pk", column)[:_BATCH]):
        last = batch[-1][0]
        rotation.total += len(batch)
        changes = list(_reencrypt(model, batch, rotation))
        if is_dry_run:
            rotation.rotated += len(changes)
            continue
        with transaction.atomic():
            for pk, before, after in changes:
                # Only if the value is unchanged: one that a pass or a form has stored since is newer.
                held = model._base_manager.filter(pk=pk, **{column: before})
                if held.update(**{column: after}):
                    rotation.rotated += 1
                else:
                    rotation.missed += 1


def _rotate_second_factors(rotation: Rotation, *, is_dry_run: bool) -> None:
    """Re-encrypt the secrets in the JSON of second factors."""
    for factor in list(Authenticator.objects.select_related("user").order_by("pk")):
        for name in _FACTOR_SECRETS & factor.data.keys():
            rotation.total += 1
            try:
                stored = rotate(factor.data[name])
            except UndecryptableValueError:
                rotation.lost.append(f"second factor of {factor.user}")
                continue
            if stored is None:
                continue
            if is_dry_run:
                rotation.rotated += 1
                continue
            with transaction.atomic():
                held = Authenticator.objects.select_for_update().filter(pk=factor.pk).first()
                # It may have been used or replaced since: only an unchanged secret is written, and nothing else of it.
                if held is None or held.data.get(name) != factor.data[name]:
                    rotation.missed += 1
                    continue
                Authenticator.objects.filter(pk=held.pk).update(data={**held.data, name: stored})
                rotation.rotated += 1


def _reencrypt(
    model: type[models.Model], batch: list[Any], rotation: Rotation
) -> Iterator[tuple[int, EncryptedText, EncryptedText]]:
    for pk, value in batch:
        try:
            stored = rotate(value.stored)
        except UndecryptableValueError:
            rotation.lost.append(_name_of(model, pk))
            continue
        if stored is not None:
            yield pk, value, EncryptedText(stored)


def _name_of(model: type[models.Model], pk: int) -> str:
    """Return what a row is called in messages: the database, or the variable and its project."""
    row = model._base_manager.filter(pk=pk).first()
    project = getattr(row, "project", None)
    of = f" of project {project}" if project else ""
    return f"{model._meta.verbose_name} {row}{of}"


def count_readable_secrets() -> tuple[int, list[str]]:
    """Return how many stored secrets can be decrypted, and the names of the others."""
    readable, lost = 0, []
    for model, column in encrypted_columns():
        rows = model._base_manager.exclude(**{column: EncryptedText()}).order_by("pk").values_list("pk", column)
        for pk, value in rows.iterator(_BATCH):
            try:
                decrypt(value.stored)
            except UndecryptableValueError:
                lost.append(_name_of(model, pk))
            else:
                readable += 1
    for factor in Authenticator.objects.select_related("user").order_by("pk"):
        for name in _FACTOR_SECRETS & factor.data.keys():
            try:
                decrypt(factor.data[name])
            except UndecryptableValueError:
                lost.append(f"second factor of {factor.user}")
            else:
                readable += 1
    return readable, lost


def explain_no_new_key() -> str:
    """Return why a command can't add a key, and what to do; "" if it can."""
    if keyring.is_in_file():
        return ""
    return _explain_without_file("Add a new key in front of the others in ENCRYPTION_KEYS")


def explain_no_drop() -> str:
    """Return why the old keys can't be removed yet, and what to do; "" if they can once everything is re-encrypted."""
    if not keyring.is_in_file():
        return _explain_without_file("Remove the old keys from ENCRYPTION_KEYS")
    age_s = time.time() - settings.ENCRYPTION_KEY_FILE.stat().st_mtime
    if (left_s := KEY_SETTLES.total_seconds() - age_s) > 0:
        return (
            f"The keys were changed {age_s:.0f} s ago, and values that were encrypted with an old key may not be "
            f"stored yet. Try again in {left_s:.0f} s."
        )
    return ""


def _explain_without_file(remedy: str) -> str:
    return f"The keys are in the environment, which a command can't change. {remedy}, and restart every process."


def add_key() -> int:
    """Add a new key in front of those in the key file; return the number of keys. Running processes use it for the next
    secret that they encrypt. Raises RefusedRequestError if the keys are not in a file, and ImproperlyConfigured."""
    _refuse(explain_no_new_key())
    new = Fernet.generate_key().decode()
    with transaction.atomic():
        _record("Added a new first key.")
        return len(replace_encryption_keys(settings.ENCRYPTION_KEY_FILE, lambda keys: [new, *keys]))


def drop_old_keys() -> int:
    """Remove all keys but the first from the key file; return how many were removed. Raises RefusedRequestError if
    another key may still be needed, and ImproperlyConfigured."""
    _refuse(explain_no_drop())
    keys = list(keyring.current().keys)
    rotation = rotate_stored_secrets()
    if not rotation.is_complete:
        raise RefusedRequestError(
            "No key was removed, because not every stored secret is encrypted with the first key. Run "
            "`manage.py rotate_keys`."
        )

    def keep_first(present: list[str]) -> list[str]:
        # If another first key was added in between, not everything is encrypted with it.
        if present != keys:
            raise RefusedRequestError(
                "No key was removed, because the keys were changed at the same time. Try again later."
            )
        return present[:1]

    with transaction.atomic():
        if len(keys) > 1:
            _record(f"Removed old keys: {len(keys) - 1}.")
        replace_encryption_keys(settings.ENCRYPTION_KEY_FILE, keep_first)
    return len(keys) - 1


def _refuse(reason: str) -> None:
    if reason:
        raise RefusedRequestError(reason)


def recapture_lost_passwords(*, actor: str) -> list[str]:
    """Discard the database passwords that no key decrypts, and enqueue passes that read the current ones from the
    cluster; return the names of the databases.

    During a rotation either password can be lost. Without the new one the rotation ends, and a connection proves which
    password is in force; without the old one a pass tries the new one on the server.
    """
    names = []
    for row in DatabaseCluster.objects.select_related("project").order_by("pk"):
        lost = {column: EncryptedText() for column in _PASSWORDS if _is_lost(getattr(row, column))}
        if not lost:
            continue
        changes: dict[str, Any] = {**lost, "verified_at": None}
        if "pending_password" in lost:
            changes |= {"rotation_requested_at": None, "rotation_begun_at": None}
        now = timezone.now()
        with transaction.atomic():
            lock_project(row.project_id)
            held = DatabaseCluster.objects.filter(pk=row.pk, **{column: getattr(row, column) for column in lost})
            if held.update(**changes) and row.retired_at is None:
                record_event(
                    row.project,
                    actor=actor,
                    level=Level.WARNING,
                    reason="PasswordGivenUp",
                    message=_explain_discarded(row, lost.keys(), actor),
                    resource=f"database {row.name}",
                    at=now,
                )
                enqueue_pass(row.project_id, now=now)
                names.append(row.name)
    return names


def _is_lost(value: EncryptedText) -> bool:
    try:
        decrypt(value.stored) if value else None
    except UndecryptableValueError:
        return True
    return False


def _explain_discarded(row: DatabaseCluster, lost: Collection[str], actor: str) -> str:
    if "pending_password" not in lost:
        return (
            f"{actor} discarded the stored password of {row.name}, whose key is lost. It is read again from the "
            "cluster."
        )
    if row.rotation_begun_at is None:
        return (
            f"{actor} discarded the new password of {row.name}, whose key is lost, before the server had it. The "
            "rotation is cancelled. Press “Rotate password…” to start another one."
        )
    return (
        f"{actor} discarded the new password of {row.name}, whose key is lost. The server may already have it: the "
        "panel connects with the password in the Secret. If that is accepted, press “Rotate password…” to start "
        "another rotation; if not, set the Secret's password with psql in the database's Pod."
    )
