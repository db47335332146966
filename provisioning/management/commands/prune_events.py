"""`manage.py prune_events`: delete old events of passes; events of people are kept."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.utils import timezone

from projects.audit.log import record_bulk_action
from projects.models import Event
from projects.services.retention import old_events, prune_events
from provisioning.management.console import WRONG_USAGE, PanelCommand, command_error
from provisioning.management.dry_run import add_dry_run_argument


class Command(PanelCommand):
    help = (
        "Delete old events that passes wrote. Events of people are kept: requests, deletions, revealed credentials. "
        "The queue does this daily (EVENT_RETENTION_DAYS)."
    )
    examples = ("prune_events --older-than-days 30 --dry-run",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than-days",
            type=int,
            default=settings.EVENT_RETENTION_DAYS or 90,
            metavar="N",
            help="the age in days (default: EVENT_RETENTION_DAYS)",
        )
        add_dry_run_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["older_than_days"]
        if not 1 <= days <= 36_500:
            raise command_error(WRONG_USAGE, "--older-than-days has to be from 1 to 36,500.")
        now = timezone.now()
        if options["dry_run"]:
            self.stdout.write(f"Would delete {old_events(days, now).count()} events. Nothing was changed.")
            return
        removed = prune_events(days, now)
        message = f"Deleted {removed} events that were older than {days} days."
        if removed:
            record_bulk_action(Event, "EventsPruned", "events", message)
        self.stdout.write(message)
