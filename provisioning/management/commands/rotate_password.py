"""`manage.py rotate_password NAME…`: give databases new passwords, and restart their sandboxes with them."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from projects.password_rotation import request_password_rotation
from projects.states import Phase
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, reload, stop
from provisioning.management.following import add_waiting_arguments, follow, warn_if_nobody_works


class Command(PanelCommand):
    help = (
        "Change the password of projects' databases: a new one is made, given to the server, proved by a connection, "
        "written to the database's Secret, and the sandbox restarts with it. It ends when the request is in the queue; "
        "with --wait, when it is carried out. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        parser.add_argument(
            "--with-adopted", action="store_true", help="adopted databases too: others who use them are locked out"
        )
        add_waiting_arguments(parser)

    def handle(
        self, *, names: Sequence[str], with_adopted: bool, wait: bool, timeout_s: float, json: bool, **options: Any
    ) -> None:
        projects = find_projects(names)
        follower = Follower(projects)
        outcomes = [
            request_password_rotation(project, actor=actor(), with_adopted=with_adopted) for project in projects
        ]
        accepted = [project for project, outcome in zip(projects, outcomes, strict=True) if outcome.accepted]
        if not json:
            self.stdout.write("\n".join(outcome.message for outcome in outcomes if outcome.accepted))
            self.stdout.flush()
        warn_if_nobody_works(self)
        if wait:
            follower.projects = reload(accepted)
            code = follow(self, follower, timeout_s=timeout_s, as_json=json, wanted=Phase.RUNNING)
            if code:
                sys.exit(code)
            self._explain_unchanged(reload(accepted))
        elif json:
            self.print_json(reload(projects))
        refusals = [outcome.message for outcome in outcomes if not outcome.accepted]
        if refusals:
            raise stop(FAILED, "\n".join(refusals))

    def _explain_unchanged(self, projects: Sequence[Any]) -> None:
        """Say which passwords stayed as they were, and why. Raises CommandError (1) where there are any."""
        said = []
        for project in projects:
            last = project.events.filter(reason__in=("PasswordRotated", "PasswordNotChanged")).first()
            if last is not None and last.reason == "PasswordNotChanged":
                said.append(f"{project.name}: {last.message}")
        if said:
            raise stop(FAILED, "\n".join(said))
