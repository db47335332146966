"""`manage.py provision NAME…`: add projects where they are missing, and ask for their databases and sandboxes."""

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from projects.domain import naming
from projects.domain.request_policy import Request
from projects.domain.states import DesiredState, Phase
from projects.models import Project
from projects.services.provisioning import add_project, request_provision
from provisioning.management.console import (
    FAILED,
    WRONG_USAGE,
    Follower,
    PanelCommand,
    actor,
    sentences,
    shown,
    stop,
    without_repeats,
)
from provisioning.management.dry_run import add_dry_run_argument, print_plans
from provisioning.management.wait import add_waiting_arguments, finish


class Command(PanelCommand):
    help = (
        "Provision projects: a PostgreSQL database and a sandbox each. A project that does not exist yet is added. "
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="+", metavar="NAME")
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self, *, names: Sequence[str], dry_run: bool, wait: bool, timeout_s: float, json: bool, **options: Any
    ) -> None:
        if dry_run:
            self._foresee(without_repeats(names), as_json=json)
            return
        projects = self._find_or_add(without_repeats(names), quiet=json)
        follower = Follower(projects)
        for project in projects:
            outcome = request_provision(project, actor=actor(), may_adopt=True)
            if not outcome.accepted:
                raise stop(FAILED, outcome.message)
            if not json:
                self.stdout.write(outcome.message)
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=Phase.RUNNING)

    def _foresee(self, names: Sequence[str], *, as_json: bool) -> None:
        """Say what would be added, and what a pass would do for the others. Raises CommandError."""
        known, wrong = _check_names(names)
        if wrong:
            raise stop(WRONG_USAGE, "\n".join(wrong))
        projects = [known.get(name) or _unstored(name) for name in names]
        print_plans(self, projects, as_json=as_json, request=Request.PROVISION)

    def _find_or_add(self, names: Sequence[str], *, quiet: bool) -> list[Project]:
        """Return the projects of these names, after adding those that are missing.

        Every name is checked before anything is added. Raises CommandError (2) with a sentence for each bad one.
        """
        known, wrong = _check_names(names)
        if wrong:
            raise stop(WRONG_USAGE, "\n".join(wrong))
        projects = []
        for name in names:
            project = known.get(name)
            if project is None:
                try:
                    project = add_project(name, actor=actor())
                except ValidationError as error:
                    raise stop(WRONG_USAGE, sentences(error)) from None
                if not quiet:
                    self.stdout.write(f"Added the project {project.name} ({project.kubernetes_name} in Kubernetes).")
            projects.append(project)
        return projects


def _check_names(names: Sequence[str]) -> tuple[dict[str, Project], list[str]]:
    """Return the projects that exist, by name, and a sentence for each name that can't be used."""
    known: dict[str, Project] = {}
    wrong: list[str] = []
    labels: dict[str, str] = {}
    for name in names:
        try:
            label = naming.kubernetes_name(naming.clean_name(name))
        except naming.InvalidNameError as error:
            wrong.append(f"{shown(name)}: {error}")
            continue
        if label in labels:
            wrong.append(f"'{name}' and '{labels[label]}' are both '{label}' in Kubernetes. Choose another name.")
            continue
        labels[label] = name
        existing = Project.objects.filter(kubernetes_name=label).first()
        if existing is None:
            continue
        if existing.name != name or existing.desired_state == DesiredState.DELETED:
            wrong.append(existing.explain_taken(name) if existing.name != name else _explain_deleted(existing))
        else:
            known[name] = existing
    return known, wrong


def _unstored(name: str) -> Project:
    """Return the project as it would be added. Raises CommandError (2)."""
    project = Project(name=name, namespace=settings.KUBE_NAMESPACE)
    try:
        project.full_clean()
    except ValidationError as error:
        raise stop(WRONG_USAGE, sentences(error)) from None
    return project


def _explain_deleted(project: Project) -> str:
    state = "deleted" if project.phase == Phase.DELETED else "being deleted"
    return f"The project '{project.name}' is {state}, and its name is never used again. Choose another name."
