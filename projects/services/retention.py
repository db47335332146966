"""Deleting old events and audit entries: events of passes after EVENT_RETENTION_DAYS, audit entries only if
AUDIT_RETENTION_DAYS is set. Events of people are kept."""

from datetime import datetime, timedelta

from auditlog.models import LogEntry
from django.db.models import QuerySet

from projects.models import Event

# Batch size: keeps each transaction short.
_BATCH = 1000


def prune_audit(older_than_days: int, now: datetime) -> int:
    """Delete audit entries that are older than this; return how many."""
    old = LogEntry.objects.filter(timestamp__lt=now - timedelta(days=older_than_days)).order_by("pk")
    removed = 0
    while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
        removed += LogEntry.objects.filter(pk__in=batch).delete()[0]
    return removed


def old_events(older_than_days: int, now: datetime) -> QuerySet[Event]:
    """Return the events of passes that are older than this and can be deleted."""
    limit = now - timedelta(days=older_than_days)
    return Event.objects.filter(by_panel=True, at__lt=limit).exclude(reason__in=Event.KEPT_REASONS)


def prune_events(older_than_days: int, now: datetime) -> int:
    """Delete the events of passes that are older than this; return how many."""
    old = old_events(older_than_days, now).order_by("pk")
    removed = 0
    while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
        removed += Event.objects.filter(pk__in=batch).prune()
    return removed
