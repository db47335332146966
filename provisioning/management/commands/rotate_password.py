"""`manage.py rotate_password NAME…`: give databases new passwords, and restart their sandboxes with them."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from projects.domain.states import Phase
from projects.models import Project
from projects.services.password_rotation import find_rotation_refusal, request_password_rotation
from provisioning.management.console import FAILED, Follower, PanelCommand, actor, find_projects, stop
from provisioning.management.dry_run import add_dry_run_argument, print_plans
from provisioning.management.wait import add_waiting_arguments, ask_for, finish


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
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self,
        *,
        names: Sequence[str],
        with_adopted: bool,
        dry_run: bool,
        wait: bool,
        timeout_s: float,
        json: bool,
        **options: Any,
    ) -> None:
        projects = find_projects(names)
        if dry_run:
            refused = {project.pk: find_rotation_refusal(project, with_adopted=with_adopted) for project in projects}
            print_plans(self, [row for row in projects if not refused[row.pk]], as_json=json, rotates=True)
            if any(refused.values()):
                raise stop(FAILED, "\n".join(refusal.message for refusal in refused.values() if refusal))
            return
        follower = Follower(projects)
        request = partial(request_password_rotation, actor=actor(), with_adopted=with_adopted)
        follower.projects, refusals = ask_for(self, projects, request, as_json=json)
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=Phase.RUNNING)
        if wait:
            refusals += _explain_unchanged(follower.projects)
        if refusals:
            raise stop(FAILED, "\n".join(refusals))


def _explain_unchanged(projects: Iterable[Project]) -> Iterator[str]:
    """Yield which passwords stayed as they were, and why."""
    for project in projects:
        last = project.events.filter(reason__in=("PasswordRotated", "PasswordNotChanged")).first()
        if last is not None and last.reason == "PasswordNotChanged":
            yield f"{project.name}: {last.message}"
