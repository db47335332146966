"""`manage.py alive PROCESS`: the liveness probe of the queue and of the watcher."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.db import DatabaseError

from provisioning import heartbeats
from provisioning.management.console import DONE, FAILED, PanelCommand


class Command(PanelCommand):
    help = (
        "Check whether the queue or the watcher is alive, as a liveness probe. If the panel's database does not "
        "answer, nothing is known, and the exit code is 0: a restart would not help."
    )
    examples = ("alive queue", "alive watcher")
    exit_codes = "0 alive or unknown, 1 has to be restarted, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("process", choices=(heartbeats.QUEUE, heartbeats.WATCHER))

    def handle(self, *, process: str, **options: Any) -> None:
        try:
            health = heartbeats.read()
        except DatabaseError:
            self.say("The panel's database does not answer, so the state is unknown.")
            sys.exit(DONE)
        component = health.queue if process == heartbeats.QUEUE else health.watcher
        self.say(component.message)
        sys.exit(DONE if component.alive else FAILED)
