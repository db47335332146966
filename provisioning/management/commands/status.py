"""`manage.py status [NAME…]`: the status of projects, read from the panel's database alone."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model

from projects.domain.states import Phase
from projects.models import Project, ProjectQuerySet
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, add_json_argument, command_error
from provisioning.management.lookup import look_up
from provisioning.management.tables import build_plain_table, build_table, terminal
from provisioning.management.wait import warn_if_queue_stopped


class Command(PanelCommand):
    help = (
        "Show the phase, the reason and the message of projects; without names, of all that are not deleted. An "
        "unknown name makes the exit code 1, and the other projects are still shown. --owner, --phase and --attention "
        "show only the projects that match all of them."
    )
    examples = ("status", "status shop --json", "status --attention", "status --owner ann --phase Failed")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME")
        parser.add_argument("--owner", metavar="USER", help="projects of this user; '' for those without an owner")
        parser.add_argument("--phase", action="append", choices=Phase.values, help="projects in this phase; repeatable")
        parser.add_argument(
            "--attention",
            action="store_true",
            help="projects that failed, are hindered, have drifted or use the default database",
        )
        add_json_argument(parser, "project")

    def handle(
        self,
        *,
        names: Sequence[str],
        owner: str | None,
        phase: Sequence[str] | None,
        attention: bool,
        json: bool,
        **options: Any,
    ) -> None:
        chosen = _choose(owner, phase, is_attention=attention)
        is_filtered = chosen is not None
        unknown: list[str] = []
        if names:
            projects, unknown = look_up(names, may_be_new=True)
            if chosen is not None:
                matching = set(chosen.values_list("pk", flat=True))
                projects = [project for project in projects if project.pk in matching]
        else:
            shown = Project.objects.all() if chosen is None else chosen
            # Deleted projects are shown if their phase is asked for.
            projects = list((shown if phase and Phase.DELETED in phase else shown.present()).with_resources())
        if json:
            self.print_projects_as_json(projects)
        elif projects and self.stdout.isatty():
            terminal(self.stdout).print(build_table(projects))
        elif projects:
            self.stdout.write("\n".join(build_plain_table(projects)))
        elif is_filtered:
            self.say("No project matches.")
        elif not names:
            self.say("There are no projects. Add one with `manage.py provision NAME`.")
        self.stdout.flush()
        if projects:
            warn_if_queue_stopped(self, "this status may be out of date")
        if unknown:
            raise command_error(FAILED, "\n".join(unknown))


def _choose(owner: str | None, phases: Sequence[str] | None, *, is_attention: bool) -> ProjectQuerySet | None:
    """Return the projects that match all filters; None without a filter. Raises CommandError (2) for an unknown
    user."""
    if owner is None and not phases and not is_attention:
        return None
    projects = Project.objects.needing_attention() if is_attention else Project.objects.all()
    if phases:
        projects = projects.filter(phase__in=phases)
    if owner:
        user = get_user_model().objects.filter(username=owner).first()
        if user is None:
            raise command_error(WRONG_USAGE, f"There is no user {owner}. Check the spelling of --owner.")
        projects = projects.filter(owner=user)
    elif owner is not None:
        projects = projects.filter(owner=None)
    return projects
