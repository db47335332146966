"""`manage.py adopt NAME --cluster CLUSTER`: make an existing database cluster a project's database."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError

from projects.domain.states import Phase
from projects.models import Project
from projects.services.adoption import request_adopt_for_new
from projects.services.outcome import Outcome
from provisioning.inventory.adoption import find_adoptable, foresee_adoption, request_adopt
from provisioning.kube.errors import KubeError
from provisioning.management.console import (
    FAILED,
    PanelCommand,
    actor,
    command_error,
    explain_invalid,
)
from provisioning.management.dry_run import add_dry_run_argument, print_adoption_plan
from provisioning.management.lookup import build_unsaved_project, find_project
from provisioning.management.progress import ProgressTracker
from provisioning.management.request_command import WAITING_EXIT_CODES
from provisioning.management.wait import add_waiting_arguments, wait_or_print


class Command(PanelCommand):
    help = (
        "Make an existing KubeBlocks Cluster a project's database: label it, capture its credentials, and create the "
        "sandbox. A project that does not exist is added if the adoption is accepted. Deleting the project later "
        "releases the Cluster and keeps its data."
    )
    examples = ("adopt shop --cluster shop-postgres --dry-run", "adopt shop --cluster shop-postgres --wait")
    exit_codes = WAITING_EXIT_CODES

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--cluster", required=True, metavar="CLUSTER", help="the name of the KubeBlocks Cluster")
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self, *, name: str, cluster: str, dry_run: bool, wait: bool, timeout_s: float, json: bool, **options: Any
    ) -> None:
        project = find_project(name)
        try:
            if dry_run:
                self._print_plan(project or build_unsaved_project(name), cluster, as_json=json)
                return
            if project is None:
                project, outcome = self._adopt_for_new(name, cluster)
                tracker = ProgressTracker([project], reports_past=True)
                if not json:
                    self.stdout.write(f"Added the project {project.name} ({project.kubernetes_name} in Kubernetes).")
            else:
                tracker = ProgressTracker([project])
                outcome = request_adopt(project, cluster, actor=actor())
        except KubeError as error:
            raise command_error(FAILED, str(error)) from None
        if not outcome.accepted:
            raise command_error(FAILED, outcome.message)
        if not json:
            self.stdout.write(outcome.message)
        wait_or_print(self, tracker, {project.pk: Phase.RUNNING}, wait=wait, timeout_s=timeout_s, as_json=json)

    def _print_plan(self, project: Project, cluster: str, *, as_json: bool) -> None:
        """Raises CommandError (1) if the adoption would be refused, and KubeError."""
        found = foresee_adoption(project, cluster)
        if isinstance(found, Outcome):
            raise command_error(FAILED, found.message)
        print_adoption_plan(self, project, found, as_json=as_json)

    def _adopt_for_new(self, name: str, cluster: str) -> tuple[Project, Outcome]:
        """Add the project and request the adoption: both or neither.

        Raises CommandError if the name can't be used (2) or the adoption is refused (1), and KubeError.
        """
        found = find_adoptable(build_unsaved_project(name), cluster)
        if isinstance(found, Outcome):
            raise command_error(FAILED, found.message)
        try:
            return request_adopt_for_new(name, found, actor=actor())
        except ValidationError as error:
            raise command_error(FAILED, explain_invalid(error)) from None
