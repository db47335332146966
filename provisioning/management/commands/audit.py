"""`manage.py audit`: the audit log as JSON lines."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from auditlog.models import LogEntry
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from projects.audit.log import export_entries
from provisioning.management.console import WRONG_USAGE, PanelCommand, command_error, quoted

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Command(PanelCommand):
    help = (
        "Print the audit log as JSON lines, the oldest entry first: every change, request, reveal and log-in, with its "
        "user and address. WHEN is a date (2026-01-31), a time (2026-01-31T08:00) or an age (30m, 12h, 7d)."
    )
    examples = ("audit --since 7d", "audit --since 2026-01-01 --until 2026-02-01 --who maria")
    exit_codes = "0 done, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", default="", metavar="WHEN", help="only entries from this time on (default: all)")
        parser.add_argument("--until", default="", metavar="WHEN", help="only entries before this time")
        parser.add_argument("--who", default="", metavar="NAME", help="only entries of this user")

    def handle(self, *, since: str, until: str, who: str, **options: Any) -> None:
        now = timezone.now()
        begin = _moment("--since", since, now) if since else None
        end = _moment("--until", until, now) if until else None
        if begin and end and begin >= end:
            raise command_error(WRONG_USAGE, "--since has to be before --until.")
        entries = LogEntry.objects.all()
        if begin:
            entries = entries.filter(timestamp__gte=begin)
        if end:
            entries = entries.filter(timestamp__lt=end)
        if who:
            entries = entries.filter(additional_data__by=who)
        is_empty = True
        for entry in export_entries(entries):
            is_empty = False
            self.stdout.write(json.dumps(entry, ensure_ascii=False))
        if is_empty and begin and begin > now:
            self.say("No entries: --since is in the future.")
        elif is_empty:
            self.say(f"No entries of {quoted(who)}. Check the spelling of the name." if who else "No entries.")


def _moment(option: str, text: str, now: datetime) -> datetime:
    """Return the time that `text` means. Raises CommandError (2) with the formats that can be read."""
    number, unit = text[:-1], _UNITS.get(text[-1:])
    try:
        if unit and number.isascii() and number.isdecimal():
            return now - timedelta(**{unit: int(number)})
        day = parse_date(text)
        moment = datetime(day.year, day.month, day.day) if day else parse_datetime(text)  # noqa: DTZ001 - made so below
        if moment is not None:
            aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment)
            # Converted here: it fails for times at either end of the calendar.
            return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise command_error(
        WRONG_USAGE, f"{option} can't be read. Write it as 2026-01-31, 2026-01-31T08:00, 30m, 12h or 7d."
    )
