"""`manage.py forget NAME --yes`: end a project whose objects can't be reached or won't go, and list what it leaves."""

import json as jsonlib
from argparse import ArgumentParser
from typing import Any

from projects.domain.request_policy import Request, find_refusal
from projects.services.forget import explain_left, list_left, request_forget
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, actor, find_projects, reload, stop


class Command(PanelCommand):
    help = (
        "Forget a project: its row becomes Deleted, and what it has in the cluster is left there and listed. The "
        "cluster is not touched. For deletions that do not come to their end, and for clusters that can't be reached. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--yes", action="store_true", help="do it; without it, only what it would leave is said")
        parser.add_argument("--dry-run", action="store_true", help="only say what it would leave")
        parser.add_argument("--json", action="store_true", help="one line of JSON for the project on stdout")

    def handle(self, *, name: str, yes: bool, dry_run: bool, json: bool, **options: Any) -> None:
        (project,) = find_projects([name])
        refusal = find_refusal(Request.FORGET, project)
        if refusal:
            raise stop(FAILED, refusal.message)
        if dry_run or not yes:
            self.say(f"Forgetting {project.name} would touch nothing in the cluster. {explain_left(project)}")
            if dry_run:
                if json:
                    left = [str(item) for item in list_left(project)]
                    self.stdout.write(jsonlib.dumps({"project": project.name, "left": left}, ensure_ascii=False))
                return
            raise stop(WRONG_USAGE, "Nothing was done. Say --yes to forget it; this can't be taken back.")
        outcome = request_forget(project, actor=actor())
        if not outcome.accepted:
            raise stop(FAILED, outcome.message)
        if json:
            self.print_json(reload([project]))
        else:
            self.stdout.write(outcome.message)
