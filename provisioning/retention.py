"""How long the timelines are kept: what the panel wrote goes after some time, what people did stays."""

from datetime import datetime, timedelta

from projects.models import Event

# A transaction of so many rows holds up nobody.
_BATCH = 1000


def prune_events(older_than_days: int, now: datetime) -> int:
    """Remove the events that the panel itself wrote before then; return how many."""
    limit = now - timedelta(days=older_than_days)
    old = Event.objects.filter(by_panel=True, at__lt=limit).exclude(reason__in=Event.KEPT_REASONS).order_by("pk")
    removed = 0
    while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
        removed += Event.objects.filter(pk__in=batch).prune()
    return removed
