"""`manage.py delete NAME…`: delete projects, with their sandboxes and databases."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace

from projects.domain.request_policy import Request
from projects.domain.states import Origin
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.provisioning import request_delete
from provisioning.management.console import FAILED, actor, command_error
from provisioning.management.request_command import Options, RequestCommand


class Command(RequestCommand):
    help = (
        "Delete projects: the sandbox, and the database with its data. An adopted database is released and keeps its "
        "data. The name can't be reused. On a terminal the command asks for confirmation; without one, as in a "
        "script, it does not ask."
    )
    examples = ("delete shop --dry-run", "delete shop --wait", "delete shop blog --yes --json")
    request = Request.DELETE

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--with-adopted-database", action="store_true", help="also delete an adopted database, with its data"
        )
        parser.add_argument("--yes", action="store_true", help="skip the confirmation on a terminal")

    def confirm(self, projects: Sequence[Project], options: Options) -> None:
        """Print what will be deleted and what kept, and ask; only on a terminal."""
        if options["yes"] or not (sys.stdin.isatty() and self.stderr.isatty()):
            return
        for project in projects:
            self.say(_summarize(project, with_adopted=options["with_adopted_database"]))
        self.stderr.write("Delete? [y/N] ", lambda text: text, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise command_error(FAILED, "Nothing was deleted.")

    def ask(self, project: Project, options: Options) -> Outcome:
        outcome = request_delete(project, actor=actor(), delete_adopted=options["with_adopted_database"])
        # It is refused only if the project is already deleted, which is what was asked for.
        return replace(outcome, accepted=True)


def _summarize(project: Project, *, with_adopted: bool) -> str:
    database = project.database
    if database is None:
        fate = "It has no database."
    elif database.origin == Origin.ADOPTED and not with_adopted:
        fate = f"The adopted database {database.name} is released and kept."
    else:
        fate = f"The database {database.name} will be deleted with all its data."
    return f"{project.name}: {fate} The sandbox will be deleted."
