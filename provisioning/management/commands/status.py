"""`manage.py status [NAME…]`: what is known of projects, from the rows alone."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.models import Project
from provisioning.management.console import PanelCommand, find_projects, plain_table_of, table_of, terminal
from provisioning.management.following import warn_if_nobody_works


class Command(PanelCommand):
    help = "Show projects with their phases and why; without names, all that are not deleted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME")
        parser.add_argument("--json", action="store_true", help="one line of JSON for each project on stdout")

    def handle(self, *, names: Sequence[str], json: bool, **options: Any) -> None:
        projects = find_projects(names) if names else list(Project.objects.present().with_resources())
        if json:
            self.print_json(projects)
        elif not projects:
            self.say("There are no projects. Add one: manage.py provision NAME")
        elif self.stdout.isatty():
            terminal(self.stdout).print(table_of(projects))
        else:
            self.stdout.write("\n".join(plain_table_of(projects)))
        if any(not project.is_carried_out for project in projects):
            warn_if_nobody_works(self)
