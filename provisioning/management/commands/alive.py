"""`manage.py alive PART`: the liveness probe of the queue and of the watcher."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.db import DatabaseError

from provisioning import heartbeats
from provisioning.management.console import DONE, FAILED, PanelCommand


class Command(PanelCommand):
    help = (
        "Say whether the queue or the watcher gives signs of life. Exit code 0 if it does, 1 if it has to be "
        "restarted. Without the panel's database nobody can tell: that is no reason to restart anything, so 0."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("part", choices=(heartbeats.QUEUE, heartbeats.WATCHER))

    def handle(self, *, part: str, **options: Any) -> None:
        try:
            seen = heartbeats.read()
        except DatabaseError:
            self.say("The panel's database does not answer: whether anything hangs is not known.")
            sys.exit(DONE)
        found = seen.queue if part == heartbeats.QUEUE else seen.watcher
        self.say(found.message)
        sys.exit(DONE if found.alive else FAILED)
