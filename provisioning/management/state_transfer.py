"""The panel's state as a file: from one database to another, such as from SQLite to PostgreSQL.

The first line of a file is JSON about the version that made it. Each further line is a row, as Django's `jsonl`
serializer writes it. Secrets stay encrypted: the other panel needs the same ENCRYPTION_KEYS. Rows keep their keys, and
keys of deleted rows are not used again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any

from auditlog.context import disable_auditlog
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.core.serializers.base import DeserializationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedTextField, UndecryptableValueError
from projects.confidential.redaction import redaction_scope
from projects.models import Event, Project

FORMAT = "controlpanel-state-1"
# Left out: sessions, counters, the queue and its results, heartbeats. Each installation has its own.
_LEFT_OUT = frozenset(
    {
        "auth.Permission",
        "contenttypes.ContentType",
        "sessions.Session",
        "provisioning.ProcessLease",
        "provisioning.ClusterChange",
    }
)
_LEFT_OUT_APPS = frozenset({"django_q", "axes"})


class StateTransferError(Exception):
    """The state can't be exported or imported; the text says why, and what to do."""


class _ExactEncoder(DjangoJSONEncoder):
    """Keeps microseconds, which Django's encoder cuts off."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


def transferred_models() -> list[type[models.Model]]:
    """Return the models whose rows are transferred, each after those that it refers to."""
    chosen = {
        config: [
            model
            for model in config.get_models()
            if model._meta.label not in _LEFT_OUT and config.label not in _LEFT_OUT_APPS and not model._meta.proxy
        ]
        for config in apps.get_app_configs()
    }
    return list(serializers.sort_dependencies(chosen.items(), allow_cycles=True))


def export_state(stream: IO[str]) -> dict[str, int]:
    """Write a consistent snapshot of the whole state; return the number of rows of each model."""
    counts: dict[str, int] = {}
    with _snapshot():
        header = {"format": FORMAT, "migrations": _applied_migrations(), "next_keys": _next_keys()}
        stream.write(json.dumps(header) + "\n")
        for model in transferred_models():
            rows = model._base_manager.order_by("pk")
            counts[model._meta.label] = rows.count()
            # One row at a time: there may be millions of events.
            serializers.serialize(
                "jsonl",
                rows.iterator(chunk_size=500),
                stream=stream,
                use_natural_foreign_keys=True,
                cls=_ExactEncoder,
            )
    return counts


def import_state(stream: IO[str], *, is_dry_run: bool = False) -> dict[str, int]:
    """Read a state into a database that has none; return the number of rows of each model. All of it or nothing.

    Raises StateTransferError for a file of another version, one whose secrets can't be decrypted here, one that is
    broken, and a database that is in use.
    """
    header = _read_header(stream)
    _require_empty()
    counts: dict[str, int] = dict.fromkeys((model._meta.label for model in transferred_models()), 0)
    # Texts were masked when they were written; they are not masked again with what this process has decrypted.
    with redaction_scope(), disable_auditlog(), transaction.atomic():
        Group.objects.all().delete()
        try:
            for row in serializers.deserialize("jsonl", stream):
                _require_decryptable(row.object)
                row.save()
                counts[row.object._meta.label] += 1
            connection.check_constraints()
        except (DeserializationError, IntegrityError, KeyError) as error:
            raise StateTransferError(f"The file can't be read: {error}. Export the state again.") from None
        # The tasks and leases of projects stay with the old installation.
        unfinished = Project.objects.exclude(next_pass_at=None, queued_at=None, lease_until=None)
        unfinished.update(queued_at=None, lease_token=None, lease_until=None, next_pass_at=timezone.now())
        _raise_next_keys(header["next_keys"])
        transaction.set_rollback(is_dry_run)
    return counts


@contextmanager
def _snapshot() -> Iterator[None]:
    """Run all queries inside on one snapshot, while others keep writing."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _applied_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    return sorted(f"{app}.{name}" for app, name in executor.loader.applied_migrations)


def _read_header(stream: IO[str]) -> dict[str, Any]:
    try:
        header = json.loads(stream.readline())
        is_ours = header["format"] == FORMAT
        made_with, next_keys = set(header["migrations"]), dict(header["next_keys"])
    except (ValueError, KeyError, TypeError):
        is_ours, made_with, next_keys = False, set(), {}
    if not is_ours:
        raise StateTransferError("The file is not an export of a panel. Create one with `manage.py export_state FILE`.")
    here = set(_applied_migrations())
    if made_with != here:
        differing = ", ".join(sorted(made_with ^ here)[:3])
        raise StateTransferError(
            f"The file was exported by another version of the panel (different migrations: {differing}). Run the same "
            "version on both sides and `manage.py migrate`, then export again."
        )
    return {"next_keys": next_keys}


def _require_empty() -> None:
    used = [model._meta.verbose_name_plural for model in (Project, Event, User) if model._base_manager.exists()]
    if used:
        raise StateTransferError(
            f"The database already has {' and '.join(map(str, used))}. Point DATABASE_URL at an empty database, run "
            "`manage.py migrate`, and import again."
        )


def _require_decryptable(row: models.Model) -> None:
    for field in row._meta.concrete_fields:
        if isinstance(field, EncryptedTextField):
            try:
                with redaction_scope():
                    field.value_from_object(row).reveal()
            except UndecryptableValueError:
                raise StateTransferError(
                    f"The {field.verbose_name} of {row._meta.verbose_name} {row.pk} can't be decrypted here. Set "
                    "ENCRYPTION_KEYS, or the key file in STATE_DIR, to the keys of the panel that exported it."
                ) from None


def _tables() -> dict[str, type[models.Model]]:
    """Return the tables whose primary keys the database generates."""
    return {
        model._meta.db_table: model
        for model in transferred_models()
        if isinstance(model._meta.pk, models.AutoField | models.BigAutoField)
    }


def _next_keys() -> dict[str, int]:
    """Return the key that each table gives its next row: keys of deleted rows must not be reused."""
    found = {}
    with connection.cursor() as cursor:
        for table, model in _tables().items():
            if connection.vendor == "sqlite":
                cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
                counted = cursor.fetchone()
                last = counted[0] if counted else 0
            else:
                cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, model._meta.pk.column])
                (sequence,) = cursor.fetchone()
                cursor.execute(f"SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}")  # noqa: S608 - its name comes from the database  # nosec B608
                (last,) = cursor.fetchone()
            found[table] = last + 1
    return found


def _raise_next_keys(next_keys: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        for table, model in _tables().items():
            highest = model._base_manager.aggregate(highest=models.Max("pk"))["highest"] or 0
            last = max(highest, int(next_keys.get(table, 1)) - 1)
            if not last:
                continue
            if connection.vendor == "sqlite":
                cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, last])
            else:
                column = model._meta.pk.column
                cursor.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [table, column, last])
