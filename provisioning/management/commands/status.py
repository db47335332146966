"""`manage.py status [NAME…]`: what is known of projects, from the rows alone."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.models import Project
from provisioning.management.console import FAILED, PanelCommand, look_up, plain_table_of, stop, table_of, terminal
from provisioning.management.wait import warn_if_nobody_works


class Command(PanelCommand):
    help = (
        "Show projects with their phases and why; without names, all that are not deleted. Exit code 1 if a name is "
        "unknown; the others are shown all the same."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME")
        parser.add_argument("--json", action="store_true", help="one line of JSON for each project on stdout")

    def handle(self, *, names: Sequence[str], json: bool, **options: Any) -> None:
        if names:
            projects, unknown = look_up(names, may_be_new=True)
        else:
            projects, unknown = list(Project.objects.present().with_resources()), []
        if json:
            self.print_json(projects)
        elif projects and self.stdout.isatty():
            terminal(self.stdout).print(table_of(projects))
        elif projects:
            self.stdout.write("\n".join(plain_table_of(projects)))
        elif not names:
            self.say("There are no projects. Add one: manage.py provision NAME")
        self.stdout.flush()
        if projects:
            warn_if_nobody_works(self, "this is how it was last seen")
        if unknown:
            raise stop(FAILED, "\n".join(unknown))
