"""System checks of the settings and of the database."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError
from django.db.migrations.exceptions import BadMigrationError

from provisioning.schema import explain_unknown, list_unknown_migrations


@register
def check_queue(**_: Any) -> list[CheckMessage]:
    """Check that no task is repeated while it still runs.

    django-q repeats a task that was not acknowledged `retry` seconds after a worker took it. Workers take up to
    `queue_limit` tasks in advance, so `retry` must leave time to wait and to run.
    """
    queue: dict[str, Any] = settings.Q_CLUSTER
    timeout_s, retry_s = queue["timeout"], queue["retry"]
    if retry_s > 2 * timeout_s:
        return []
    return [
        Error(
            f"Q_CLUSTER: retry ({retry_s} s) must be more than twice timeout ({timeout_s} s). Else a task that waits "
            "for a worker first is run twice.",
            hint="Raise retry, or lower timeout.",
            id="provisioning.E001",
        )
    ]


@register(Tags.database)
def check_schema(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that no newer version has migrated the databases. `migrate` runs this check, and so do Pods that wait for
    migrations."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        try:
            unknown = list_unknown_migrations(alias)
        except (DatabaseError, BadMigrationError):
            continue  # the command itself says it
        if unknown:
            found.append(Error(explain_unknown(unknown), id="provisioning.E002"))
    return found
