"""`manage.py cancel NAME…`: take provisionings back, before the projects have run."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.ending import request_cancel
from projects.possible import Request
from projects.states import Phase
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, reload, stop
from provisioning.management.following import add_waiting_arguments, follow, warn_if_nobody_works
from provisioning.management.foreseeing import add_dry_run_argument, print_plans


class Command(PanelCommand):
    help = (
        "Cancel provisionings: what was made so far is deleted, an adopted Cluster is released, and the project is as "
        "new. Refused for projects that have run: their data would go. It ends when the request is in the queue; with "
        "--wait, when all is taken back. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self, *, names: Sequence[str], dry_run: bool, wait: bool, timeout_s: float, json: bool, **options: Any
    ) -> None:
        projects = find_projects(names)
        if dry_run:
            print_plans(self, projects, as_json=json, request=Request.CANCEL)
            return
        follower = Follower(projects)
        outcomes = [request_cancel(project, actor=actor()) for project in projects]
        if not json:
            self.stdout.write("\n".join(outcome.message for outcome in outcomes if outcome.accepted))
            self.stdout.flush()
        warn_if_nobody_works(self)
        if wait:
            follower.projects = [p for p, outcome in zip(reload(projects), outcomes, strict=True) if outcome.accepted]
            code = follow(self, follower, timeout_s=timeout_s, as_json=json, wanted=Phase.NEW)
            if code:
                sys.exit(code)
        elif json:
            self.print_json(reload(projects))
        refusals = [outcome.message for outcome in outcomes if not outcome.accepted]
        if refusals:
            raise stop(FAILED, "\n".join(refusals))
