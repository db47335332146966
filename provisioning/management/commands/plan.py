"""`manage.py plan NAME…`: what a pass would do now, without doing it."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from provisioning.management.console import PanelCommand, find_projects
from provisioning.management.dry_run import print_plans


class Command(PanelCommand):
    help = (
        "Say what a pass would do now for projects, and what would change in the cluster, without doing it. What would "
        "be applied is sent as a dry run. Exit codes: 0 done, 1 failed, 2 wrong usage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        parser.add_argument("--json", action="store_true", help="one line of JSON for each project on stdout")

    def handle(self, *, names: Sequence[str], json: bool, **options: Any) -> None:
        print_plans(self, find_projects(names, may_be_new=True), as_json=json)
