"""The base class of the commands that make one request of each named project."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from projects.domain.request_policy import POLICY, Refusal, Request, find_refusal
from projects.domain.states import DesiredState, Phase
from projects.models import Project
from projects.services.outcome import Outcome
from provisioning.management.console import FAILED, PanelCommand, command_error
from provisioning.management.dry_run import add_dry_run_argument, print_plans_after
from provisioning.management.lookup import find_projects
from provisioning.management.progress import Awaited, ProgressTracker
from provisioning.management.wait import add_waiting_arguments, wait_or_print

Options = Mapping[str, Any]
WAITING_EXIT_CODES = "0 done, 1 failed or refused, 2 wrong usage, 3 timed out"
# The phase in which a project is when its desired state is reached.
_REACHED = {
    DesiredState.REGISTERED: Phase.NEW,
    DesiredState.RUNNING: Phase.RUNNING,
    DesiredState.DELETED: Phase.DELETED,
}


class RequestCommand(PanelCommand):
    """NAME… with `--dry-run`, `--wait`, `--timeout-s` and `--json`.

    A subclass names its `request` and makes it in `ask`. The other methods are hooks for what is special about it.
    Requests that are refused are reported after the others were carried out.
    """

    request: ClassVar[Request]
    exit_codes = WAITING_EXIT_CODES

    # --- Hooks -------------------------------------------------------------------------------------------------------

    def add_options(self, parser: ArgumentParser) -> None:
        """Add the options that only this command has."""

    def find_projects(self, names: Sequence[str], options: Options) -> list[Project]:
        """Return the projects to ask; for a dry run, unsaved ones for those to be added. Raises CommandError."""
        return find_projects(names)

    def find_refusal(self, project: Project, options: Options) -> Refusal | None:
        """Return why the request would be refused."""
        return find_refusal(self.request, project)

    def confirm(self, projects: Sequence[Project], options: Options) -> None:
        """Ask before anything is requested. Raises CommandError (1) if the answer is no."""

    def ask(self, project: Project, options: Options) -> Outcome:
        """Make the request."""
        raise NotImplementedError

    def find_failures(self, projects: Sequence[Project]) -> list[str]:
        """Return messages about requests that were carried out, and had no effect."""
        return []

    def await_requests(
        self, tracker: ProgressTracker, awaited: Awaited, *, wait: bool, timeout_s: float, as_json: bool
    ) -> None:
        """Wait until the requests are carried out, or print them. Raises SystemExit with the exit code."""
        wait_or_print(self, tracker, awaited, wait=wait, timeout_s=timeout_s, as_json=as_json)

    # --- What all of them do -----------------------------------------------------------------------------------------

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME", help="a project's name, as written or in Kubernetes")
        self.add_options(parser)
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(self, *, names: Sequence[str], wait: bool, timeout_s: float, json: bool, **options: Any) -> None:
        options = {**options, "json": json}
        projects = self.find_projects(names, options)
        if options["dry_run"]:
            self._print_plans(projects, options)
            return
        self.confirm(projects, options)
        awaited = {project.pk: self._awaited_phase(project) for project in projects}
        tracker = ProgressTracker(projects)
        tracker.projects, messages = self._ask_each(projects, options)
        self.await_requests(tracker, awaited, wait=wait, timeout_s=timeout_s, as_json=json)
        if wait:
            messages += self.find_failures(tracker.projects)
        if messages:
            raise command_error(FAILED, "\n".join(messages))

    def _print_plans(self, projects: Sequence[Project], options: Options) -> None:
        print_plans_after(
            self.request,
            self,
            projects,
            lambda project: self.find_refusal(project, options),
            as_json=options["json"],
            delete_adopted=options.get("with_adopted_database", False),
        )

    def _ask_each(self, projects: Sequence[Project], options: Options) -> tuple[list[Project], list[str]]:
        """Make the requests and print what was accepted, unless as JSON; return the projects that accepted theirs, and
        why others refused."""
        outcomes = [(project, self.ask(project, options)) for project in projects]
        for _, outcome in outcomes:
            if outcome.accepted and not options["json"]:
                self.stdout.write(outcome.message)
        accepted = [project for project, outcome in outcomes if outcome.accepted]
        return accepted, [outcome.message for _, outcome in outcomes if not outcome.accepted]

    def _awaited_phase(self, project: Project) -> Phase:
        return _REACHED[POLICY[self.request].desired or DesiredState(project.desired_state)]


def last_failures(projects: Sequence[Project], *, done: str, failed: str) -> list[str]:
    """Return the messages of projects whose latest event of these two reasons is `failed`."""
    messages = []
    for project in projects:
        last = project.events.filter(reason__in=(done, failed)).first()
        if last is not None and last.reason == failed:
            messages.append(f"{project.name}: {last.message}")
    return messages
