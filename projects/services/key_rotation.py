"""Encrypts every stored secret anew with the first key, while the panel runs; may be stopped and started again."""

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
from projects.models import DatabaseCluster, Project
from projects.services.events import record_event
from projects.services.outcome import RefusedRequestError
from projects.services.queue import enqueue_pass

_BATCH = 200
_PASSWORDS = ("password", "pending_password")
_SECONDS_KEEP = frozenset({"secret", "seed"})
# A value that was written between reading and writing is met again in the next round.
_MOST_ROUNDS = 5
# A process that took the old key just before the new one came has long stored what it encrypted with it by then.
KEY_SETTLES = timedelta(minutes=5)


@dataclass
class Rotation:
    """What became of the stored values: how many there are, how many were encrypted anew, which no key opens."""

    total: int = 0
    rotated: int = 0
    lost: list[str] = field(default_factory=list)
    # Written by others faster than they could be read: none, unless the panel is very busy.
    missed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every value is encrypted with the first key, so that no other key is needed."""
        return not self.lost and not self.missed


def encrypted_columns() -> Iterator[tuple[type[models.Model], str]]:
    """Yield each model and field that holds secrets, whichever app it belongs to."""
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, EncryptedTextField):
                yield model, column.name


def rotate_stored_secrets(*, is_dry_run: bool = False) -> Rotation:
    """Encrypt all values with the first key that are not so yet, or only count them. A write of somebody else's is
    never overwritten."""
    rotation = Rotation()
    for _ in range(_MOST_ROUNDS):
        rotation.total, rotation.missed, rotation.lost = 0, 0, []
        for model, column in encrypted_columns():
            _rotate_column(model, column, rotation, is_dry_run=is_dry_run)
        _rotate_second_factors(rotation, is_dry_run=is_dry_run)
        if not rotation.missed:
            break
    if rotation.rotated and not is_dry_run:
        _record(f"Encrypted {rotation.rotated} of {rotation.total} stored secrets anew with the first key.")
    return rotation


def _record(message: str) -> None:
    record_bulk_action(DatabaseCluster, "KeysRotated", "encryption keys", message)


def _rotate_column(model: type[models.Model], column: str, rotation: Rotation, *, is_dry_run: bool) -> None:
    last = 0
    rows = model._base_manager.exclude(**{column: EncryptedText()}).order_by("pk")
    while batch := list(rows.filter(pk__gt=last).values_list("pk", column)[:_BATCH]):
        last = batch[-1][0]
        rotation.total += len(batch)
        changes = list(_encrypt_anew(model, batch, rotation))
        if is_dry_run:
            rotation.rotated += len(changes)
            continue
        with transaction.atomic():
            for pk, before, after in changes:
                # Only what is still as it was read: a value that a pass or a form has stored since is newer.
                held = model._base_manager.filter(pk=pk, **{column: before})
                if held.update(**{column: after}):
                    rotation.rotated += 1
                else:
                    rotation.missed += 1


def _rotate_second_factors(rotation: Rotation, *, is_dry_run: bool) -> None:
    """The same for what second factors keep in their JSON: an authenticator app's secret, the recovery codes' seed."""
    for factor in list(Authenticator.objects.select_related("user").order_by("pk")):
        for name in _SECONDS_KEEP & factor.data.keys():
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
                # Used or replaced meanwhile: only what is still the same is written, the rest of it as it is now.
                if held is None or held.data.get(name) != factor.data[name]:
                    rotation.missed += 1
                    continue
                Authenticator.objects.filter(pk=held.pk).update(data={**held.data, name: stored})
                rotation.rotated += 1


def _encrypt_anew(
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
    """Return what people know a row by: the database, or the variable and its project."""
    row = model._base_manager.filter(pk=pk).first()
    project = getattr(row, "project", None)
    of = f" of project {project}" if project else ""
    return f"{model._meta.verbose_name} {row}{of}"


def count_readable_secrets() -> tuple[int, list[str]]:
    """Return how many stored secrets a key opens, and the names of those that none does."""
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
        for name in _SECONDS_KEEP & factor.data.keys():
            try:
                decrypt(factor.data[name])
            except UndecryptableValueError:
                lost.append(f"second factor of {factor.user}")
            else:
                readable += 1
    return readable, lost


def explain_no_new_key() -> str:
    """Return why no key can be put in front by a command, and what to do; "" where one can."""
    if keyring.is_in_file():
        return ""
    return _explain_without_file("Make a key and put it in front of the others in ENCRYPTION_KEYS")


def explain_no_drop() -> str:
    """Return why the old keys can't go yet, and what to do; "" where they can once everything is encrypted anew."""
    if not keyring.is_in_file():
        return _explain_without_file("Remove the old keys from ENCRYPTION_KEYS")
    age_s = time.time() - settings.ENCRYPTION_KEY_FILE.stat().st_mtime
    if (left_s := KEY_SETTLES.total_seconds() - age_s) > 0:
        return (
            f"The keys were changed {age_s:.0f} s ago, and what was encrypted with an old one just before may not be "
            f"stored yet. Try again in {left_s:.0f} s."
        )
    return ""


def _explain_without_file(remedy: str) -> str:
    return f"The keys are in the environment, which a command can't change. {remedy}, and restart every process."


def add_key() -> int:
    """Put a new key in front of those in the key file; return how many there are now. Running processes use it from
    their next secret on. Raises RefusedRequestError where the keys are not in a file, and ImproperlyConfigured."""
    _refuse(explain_no_new_key())
    new = Fernet.generate_key().decode()
    with transaction.atomic():
        _record("Put a new key in front of the others.")
        return len(replace_encryption_keys(settings.ENCRYPTION_KEY_FILE, lambda keys: [new, *keys]))


def drop_old_keys() -> int:
    """Remove all keys but the first from the key file; return how many were removed. Raises RefusedRequestError while
    one may still be needed, and ImproperlyConfigured."""
    _refuse(explain_no_drop())
    keys = list(keyring.current().keys)
    rotation = rotate_stored_secrets()
    if not rotation.is_complete:
        raise RefusedRequestError("Not every stored secret is encrypted with the first key: no key was removed.")

    def keep_first(present: list[str]) -> list[str]:
        # A key that came in front meanwhile has not encrypted everything: the one that has must stay.
        if present != keys:
            raise RefusedRequestError("The keys were changed meanwhile: no key was removed. Try again later.")
        return present[:1]

    with transaction.atomic():
        if len(keys) > 1:
            _record(f"Removed the other keys: {len(keys) - 1}.")
        replace_encryption_keys(settings.ENCRYPTION_KEY_FILE, keep_first)
    return len(keys) - 1


def _refuse(why: str) -> None:
    if why:
        raise RefusedRequestError(why)


def recapture_lost_passwords(*, actor: str) -> list[str]:
    """Give up the database passwords that no key opens, and have a pass find out from the cluster which one is in
    force; return the names of the databases.

    Where a password is being changed, either may be lost: without the new one the change ends, and what is in force is
    proved by a connection; without the old one a pass asks the server for the new one.
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
            # In the order in which a pass locks them: PostgreSQL would end one of two that wait for each other.
            Project.objects.select_for_update().get(pk=row.project_id)
            held = DatabaseCluster.objects.filter(pk=row.pk, **{column: getattr(row, column) for column in lost})
            if held.update(**changes) and row.retired_at is None:
                record_event(
                    row.project,
                    actor=actor,
                    level=Level.WARNING,
                    reason="PasswordGivenUp",
                    message=_say_given_up(row, lost.keys(), actor),
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


def _say_given_up(row: DatabaseCluster, lost: Collection[str], actor: str) -> str:
    if "pending_password" not in lost:
        return (
            f"{actor} gave up the stored password of {row.name}, whose key is lost; it is read again from the cluster."
        )
    if row.rotation_begun_at is None:
        return (
            f"{actor} gave up the new password of {row.name}, whose key is lost, before the server had it: the change "
            "is off. Press “Change the password…” to ask for another."
        )
    return (
        f"{actor} gave up the new password of {row.name}, whose key is lost. Whether the server has it already is not "
        "known: the panel connects with the one in the Secret. If that is accepted, press “Change the password…” to "
        "ask for another; if not, set the Secret's password with psql in the database's Pod."
    )
