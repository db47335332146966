"""`manage.py forget NAME --yes`: delete a project without its objects, and list what it leaves in the cluster."""

from argparse import ArgumentParser
from typing import Any

from projects.domain.request_policy import Request, find_refusal
from projects.services.forget import explain_left, list_left, request_forget
from provisioning.management.console import (
    FAILED,
    WRONG_USAGE,
    PanelCommand,
    actor,
    add_json_argument,
    command_error,
)
from provisioning.management.dry_run import add_dry_run_argument
from provisioning.management.lookup import find_projects, reload_projects


class Command(PanelCommand):
    help = (
        "Forget a project whose objects can't be reached or can't be deleted: it becomes Deleted, and its objects stay "
        "in the cluster and are listed. Without --yes the command prints that list and exits with code 2."
    )
    examples = ("forget shop", "forget shop --yes")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--yes", action="store_true", help="forget the project; this can't be undone")
        add_dry_run_argument(parser)
        add_json_argument(parser, "project")

    def handle(self, *, name: str, yes: bool, dry_run: bool, json: bool, **options: Any) -> None:
        (project,) = find_projects([name])
        refusal = find_refusal(Request.FORGET, project)
        if refusal:
            raise command_error(FAILED, refusal.message)
        if dry_run or not yes:
            self.say(f"Would forget {project.name} and delete nothing in the cluster. {explain_left(project)}")
            if not dry_run:
                raise command_error(
                    WRONG_USAGE, "Nothing was changed. To forget the project, add --yes. This can't be undone."
                )
            if json:
                self.print_json({"project": project.name, "left": [str(item) for item in list_left(project)]})
            return
        outcome = request_forget(project, actor=actor())
        if not outcome.accepted:
            raise command_error(FAILED, outcome.message)
        if json:
            self.print_projects_as_json(reload_projects([project]))
        else:
            self.stdout.write(outcome.message)
