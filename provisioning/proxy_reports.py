"""What the web server notices about reverse proxies, for doctor: entries of X-Forwarded-For that it can't read."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from projects.confidential.redaction import one_line
from provisioning.models import ProcessLease

_NAME = "forwarded-for"
# A process writes at most this often, however many requests it gets; it counts those in between.
_WRITE_EVERY = timedelta(seconds=60)
_REPORTED_FOR = timedelta(days=1)
_LONGEST_ENTRY = 60


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """The last entry that couldn't be read, from which address it came, and how many there were since `since`."""

    entry: str
    remote: str
    at: datetime
    since: datetime
    count: int


class Counter:
    """Counts what isn't written yet, for all threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._written_at: datetime | None = None

    def take(self, now: datetime) -> int:
        """Count one; return how many are to be written now, 0 for none."""
        with self._lock:
            self._count += 1
            if self._written_at is not None and self._written_at <= now < self._written_at + _WRITE_EVERY:
                return 0
            self._written_at, taken, self._count = now, self._count, 0
            return taken


_counter = Counter()


def report_unreadable(entry: str, remote: str) -> None:
    """Record an entry that can't be read. Does nothing if the database can't be written."""
    now = timezone.now()
    count = _counter.take(now)
    if not count:
        return
    details = {"entry": one_line(entry, _LONGEST_ENTRY), "remote": one_line(remote, _LONGEST_ENTRY)}
    try:
        with transaction.atomic():
            row, _ = ProcessLease.objects.select_for_update().get_or_create(name=_NAME)
            is_recent = row.renewed_at is not None and row.renewed_at > now - _REPORTED_FOR
            since = str(row.details.get("since") or "") if is_recent else ""
            total = int(row.details.get("count") or 0) if is_recent else 0
            row.details = {**details, "since": since or now.isoformat(), "count": total + count}
            row.renewed_at = now
            row.save(update_fields=["details", "renewed_at"])
    except DatabaseError:
        return


def read_unreadable(now: datetime) -> UnreadableEntry | None:
    """Return what was reported within the last day; None if nothing was."""
    row = ProcessLease.objects.filter(name=_NAME, renewed_at__gt=now - _REPORTED_FOR).first()
    if row is None or row.renewed_at is None:
        return None
    since = parse_datetime(str(row.details.get("since"))) or row.renewed_at
    entry, remote = str(row.details.get("entry")), str(row.details.get("remote"))
    return UnreadableEntry(entry, remote, row.renewed_at, since, int(row.details.get("count") or 1))
