"""`manage.py plan NAME…`: what a pass would do now, without doing it."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from provisioning.management.console import PanelCommand, add_json_argument
from provisioning.management.dry_run import print_plans
from provisioning.management.lookup import find_projects


class Command(PanelCommand):
    help = (
        "Show what the panel would do next for projects, and which objects would change, as a diff. Nothing is "
        "changed: objects are sent to the API server as a dry run."
    )
    examples = ("plan shop", "plan shop --json")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        add_json_argument(parser, "project")

    def handle(self, *, names: Sequence[str], json: bool, **options: Any) -> None:
        print_plans(self, find_projects(names, may_be_new=True), as_json=json)
