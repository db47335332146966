"""`manage.py verify NAME…`: prove the captured credentials of databases again, by a connection."""

import sys
import time
from collections.abc import Sequence

from django.utils import timezone

from projects.domain.request_policy import Refusal, Request
from projects.domain.verification import describe_proof
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.verification import find_verification_refusal, request_verification
from provisioning.management.console import FAILED, TIMED_OUT, actor
from provisioning.management.lookup import reload_projects
from provisioning.management.progress import REFRESH_EVERY_S, Awaited, ProgressTracker
from provisioning.management.request_command import Options, RequestCommand
from provisioning.management.wait import warn_if_queue_stopped


class Command(RequestCommand):
    help = (
        "Connect to a project's database with the captured credentials, and record whether it accepts them. With "
        "--wait, the exit code is 1 if it does not."
    )
    examples = ("verify shop --wait",)
    request = Request.VERIFY

    def find_refusal(self, project: Project, options: Options) -> Refusal | None:
        return find_verification_refusal(project)

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_verification(project, actor=actor())

    def await_requests(
        self, tracker: ProgressTracker, awaited: Awaited, *, wait: bool, timeout_s: float, as_json: bool
    ) -> None:
        """Wait for the connection, not until a project whose credentials fail is running again."""
        if not wait:
            super().await_requests(tracker, awaited, wait=wait, timeout_s=timeout_s, as_json=as_json)
            return
        if not tracker.projects:
            return
        warn_if_queue_stopped(self)
        until_s = time.monotonic() + timeout_s
        projects = reload_projects(tracker.projects)
        while any(map(_is_pending, projects)) and time.monotonic() < until_s:
            time.sleep(REFRESH_EVERY_S)
            projects = reload_projects(projects)
        self._print(projects, as_json=as_json)
        if any(map(_is_pending, projects)):
            sys.exit(TIMED_OUT)
        if not all(project.database is not None and project.database.is_verified for project in projects):
            sys.exit(FAILED)

    def _print(self, projects: Sequence[Project], *, as_json: bool) -> None:
        if as_json:
            self.print_projects_as_json(projects)
            return
        for project in projects:
            proof = describe_proof(project.database, timezone.now()) if project.database else "No database."
            waiting = "Not done yet; the request continues. " if _is_pending(project) else ""
            self.stdout.write(f"{project.name}: {waiting}{proof}")


def _is_pending(project: Project) -> bool:
    return project.database is not None and project.database.verification_requested_at is not None
