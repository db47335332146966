"""`manage.py retry NAME…`: try again what was asked for projects, with a new deadline."""

from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from typing import Any

from projects.domain.request_policy import Request
from projects.domain.states import DesiredState, Phase
from projects.services.provisioning import request_retry
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, stop
from provisioning.management.dry_run import add_dry_run_argument, print_plans
from provisioning.management.wait import add_waiting_arguments, ask_for, finish

_WANTED = {
    DesiredState.RUNNING: Phase.RUNNING,
    DesiredState.REGISTERED: Phase.NEW,
    DesiredState.DELETED: Phase.DELETED,
}


class Command(PanelCommand):
    help = (
        "Try again what was asked for projects, with a new deadline: their provisioning, deletion or cancellation. "
        "Refused for a project that nothing was asked for, or that has ended. It ends when the request is in the "
        "queue; with --wait, when it is carried out. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
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
            print_plans(self, projects, as_json=json, request=Request.RETRY)
            return
        follower = Follower(projects)
        follower.projects, refusals = ask_for(
            self, projects, partial(request_retry, actor=actor(), may_adopt=True), as_json=json
        )
        wanted = {project.pk: _WANTED[DesiredState(project.desired_state)] for project in projects}
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=wanted)
        if refusals:
            raise stop(FAILED, "\n".join(refusals))
