"""`manage.py status [NAME…]`: the status of projects, read from the panel's database alone."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.models import Project
from provisioning.management.console import FAILED, PanelCommand, add_json_argument, command_error
from provisioning.management.lookup import look_up
from provisioning.management.tables import build_plain_table, build_table, terminal
from provisioning.management.wait import warn_if_queue_stopped


class Command(PanelCommand):
    help = (
        "Show the phase, the reason and the message of projects; without names, of all that are not deleted. An "
        "unknown name makes the exit code 1, and the other projects are still shown."
    )
    examples = ("status", "status shop --json")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME")
        add_json_argument(parser, "project")

    def handle(self, *, names: Sequence[str], json: bool, **options: Any) -> None:
        if names:
            projects, unknown = look_up(names, may_be_new=True)
        else:
            projects, unknown = list(Project.objects.present().with_resources()), []
        if json:
            self.print_projects_as_json(projects)
        elif projects and self.stdout.isatty():
            terminal(self.stdout).print(build_table(projects))
        elif projects:
            self.stdout.write("\n".join(build_plain_table(projects)))
        elif not names:
            self.say("There are no projects. Add one with `manage.py provision NAME`.")
        self.stdout.flush()
        if projects:
            warn_if_queue_stopped(self, "this status may be out of date")
        if unknown:
            raise command_error(FAILED, "\n".join(unknown))
