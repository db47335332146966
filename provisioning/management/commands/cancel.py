"""`manage.py cancel NAME…`: take provisionings back, before the projects have run."""

from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from typing import Any

from projects.domain.request_policy import Request
from projects.domain.states import Phase
from projects.services.cancellation import request_cancel
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, stop
from provisioning.management.dry_run import add_dry_run_argument, print_plans
from provisioning.management.wait import add_waiting_arguments, ask_for, finish


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
        follower.projects, refusals = ask_for(self, projects, partial(request_cancel, actor=actor()), as_json=json)
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=Phase.NEW)
        if refusals:
            raise stop(FAILED, "\n".join(refusals))
