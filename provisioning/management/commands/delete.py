"""`manage.py delete NAME…`: end projects, with their sandboxes and the databases that the panel made for them."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.domain.request_policy import Request
from projects.domain.states import Origin, Phase
from projects.models import Project
from projects.services.provisioning import request_delete
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, stop
from provisioning.management.dry_run import add_dry_run_argument, print_plans
from provisioning.management.wait import add_waiting_arguments, finish


class Command(PanelCommand):
    help = (
        "Delete projects: the sandbox, and the database if the panel made it, with all its data. An adopted database "
        "is released and stays. On a terminal it asks once; without one, as in a script, it does not ask. It "
        "ends when the deletion is in the queue; with --wait, when all is gone. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        parser.add_argument(
            "--with-adopted-database", action="store_true", help="delete adopted databases as well, with their data"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask on a terminal either")
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self,
        *,
        names: Sequence[str],
        with_adopted_database: bool,
        yes: bool,
        dry_run: bool,
        wait: bool,
        timeout_s: float,
        json: bool,
        **options: Any,
    ) -> None:
        projects = find_projects(names)
        if dry_run:
            print_plans(self, projects, as_json=json, request=Request.DELETE, delete_adopted=with_adopted_database)
            return
        if not yes and sys.stdin.isatty() and self.stderr.isatty():
            self._confirm(projects, with_adopted=with_adopted_database)
        follower = Follower(projects)
        for project in projects:
            outcome = request_delete(project, actor=actor(), delete_adopted=with_adopted_database)
            if not json:
                self.stdout.write(outcome.message)
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=Phase.DELETED)

    def _confirm(self, projects: Sequence[Project], *, with_adopted: bool) -> None:
        """Say what goes and what stays, and ask. Raises CommandError (1) unless the answer is yes."""
        for project in projects:
            database = project.database
            if database is None:
                fate = "no database"
            elif database.origin == Origin.ADOPTED and not with_adopted:
                fate = f"the adopted database {database.name} stays"
            else:
                fate = f"the database {database.name} goes with all its data"
            self.say(f"{project.name}: {fate}; its sandbox goes.")
        self.stderr.write("Delete? [y/N] ", lambda text: text, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise stop(FAILED, "Nothing was deleted.")
