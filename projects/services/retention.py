"""Deleting old events and audit entries: events of passes after EVENT_RETENTION_DAYS, audit entries only if
AUDIT_RETENTION_DAYS is set. Events of people are kept."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from auditlog.models import LogEntry
from django.db.models import QuerySet

from projects.models import Event

# Batch size: keeps each transaction short.
_BATCH = 1000


def prune_audit(older_than_days: int, now: datetime) -> int:
    """Delete audit entries that are older than this; return how many."""
    old = LogEntry.objects.filter(timestamp__lt=now - timedelta(days=older_than_days))
    return _delete_in_batches(old, lambda keys: int(LogEntry.objects.filter(pk__in=keys).delete()[0]))


def old_events(older_than_days: int, now: datetime) -> QuerySet[Event]:
    """Return the events of passes that are older than this and can be deleted."""
    limit = now - timedelta(days=older_than_days)
    return Event.objects.filter(by_panel=True, at__lt=limit).exclude(reason__in=Event.KEPT_REASONS)


def prune_events(older_than_days: int, now: datetime) -> int:
    """Delete the events of passes that are older than this; return how many."""
    return _delete_in_batches(old_events(older_than_days, now), lambda keys: Event.objects.filter(pk__in=keys).prune())


def _delete_in_batches(rows: QuerySet[Any], delete: Callable[[list[int]], int]) -> int:
    """Delete the rows, `delete` those with the given keys at a time; return how many."""
    deleted = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        deleted += delete(keys)
    return deleted
