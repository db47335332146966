"""How long the timelines and the audit log are kept: what the panel wrote goes after some time, what people did stays
unless the owner has said for how long."""

from datetime import datetime, timedelta

from auditlog.models import LogEntry
from django.db.models import QuerySet

from projects.models import Event

# A transaction of so many rows holds up nobody.
_BATCH = 1000


def prune_audit(older_than_days: int, now: datetime) -> int:
    """Remove the entries of the audit log from before then; return how many."""
    old = LogEntry.objects.filter(timestamp__lt=now - timedelta(days=older_than_days)).order_by("pk")
    removed = 0
    while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
        removed += LogEntry.objects.filter(pk__in=batch).delete()[0]
    return removed


def old_events(older_than_days: int, now: datetime) -> QuerySet[Event]:
    """Return the events that the panel itself wrote before then, and that may go."""
    limit = now - timedelta(days=older_than_days)
    return Event.objects.filter(by_panel=True, at__lt=limit).exclude(reason__in=Event.KEPT_REASONS)


def prune_events(older_than_days: int, now: datetime) -> int:
    """Remove the events that the panel itself wrote before then; return how many."""
    old = old_events(older_than_days, now).order_by("pk")
    removed = 0
    while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
        removed += Event.objects.filter(pk__in=batch).prune()
    return removed
