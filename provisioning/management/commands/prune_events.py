"""`manage.py prune_events`: remove old lines of the timelines, but never who looked at a secret or asked for what."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from projects.audit.log import record_bulk_action
from projects.models import Event
from projects.services.retention import old_events, prune_events
from provisioning.management.console import PanelCommand


class Command(PanelCommand):
    help = (
        "Remove events that the panel itself wrote and that are older than some days. What people did stays: requests, "
        "deletions, revealed credentials. The queue does it daily (EVENT_RETENTION_DAYS)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than-days", type=int, default=settings.EVENT_RETENTION_DAYS or 90)
        parser.add_argument("--dry-run", action="store_true", help="only say how many would go")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["older_than_days"]
        if not 1 <= days <= 36_500:
            raise CommandError("--older-than-days must be from 1 to 36,500.", returncode=2)
        now = timezone.now()
        if options["dry_run"]:
            self.stdout.write(f"Would remove {old_events(days, now).count()} events of the panel. Nothing was removed.")
            return
        removed = prune_events(days, now)
        said = f"Removed {removed} events of the panel that were older than {days} days."
        if removed:
            record_bulk_action(Event, "EventsPruned", "timelines", said)
        self.stdout.write(said)
