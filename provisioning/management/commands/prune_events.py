"""`manage.py prune_events`: remove old lines of the timelines, but never who looked at a secret or asked for what."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from projects.models import Event
from provisioning.management.console import PanelCommand
from provisioning.scene import PANEL

# A transaction of so many rows holds up nobody.
_BATCH = 1000


class Command(PanelCommand):
    help = (
        "Remove events that the panel itself wrote and that are older than some days. What people did stays: "
        "requests, deletions, revealed credentials. Run it daily, from cron or a CronJob."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than-days", type=int, default=90)

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["older_than_days"]
        if days < 1:
            raise CommandError("--older-than-days must be 1 or more.", returncode=2)
        limit = timezone.now() - timedelta(days=days)
        old = Event.objects.filter(actor=PANEL, at__lt=limit).exclude(reason__in=Event.KEPT_REASONS).order_by("pk")
        removed = 0
        while batch := list(old.values_list("pk", flat=True)[:_BATCH]):
            removed += Event.objects.filter(pk__in=batch).prune()
        self.stdout.write(f"Removed {removed} events of the panel that were older than {days} days.")
