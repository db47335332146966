"""`manage.py provision NAME…`: request databases and sandboxes, and add projects that do not exist."""

from collections.abc import Sequence

from django.core.exceptions import ValidationError

from projects.domain import naming
from projects.domain.request_policy import Request, find_refusal
from projects.domain.states import DesiredState
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.provisioning import add_project, request_provision
from provisioning.management.console import WRONG_USAGE, actor, command_error, explain_invalid, quoted
from provisioning.management.lookup import build_unsaved_project, without_repeats
from provisioning.management.request_command import Options, RequestCommand


class Command(RequestCommand):
    help = (
        "Give each project a PostgreSQL database and a sandbox. A project that does not exist is added. If a project's "
        "name matches an existing Cluster, the project adopts it."
    )
    examples = ("provision shop --wait", "provision shop blog --dry-run")
    request = Request.PROVISION

    def find_projects(self, names: Sequence[str], options: Options) -> list[Project]:
        """Return the projects of these names, after adding those that do not exist; a dry run adds none.

        Every name is checked before anything is added. Raises CommandError (2) with a message about each bad name.
        """
        names = without_repeats(names)
        known, errors = _check_names(names)
        if errors:
            raise command_error(WRONG_USAGE, "\n".join(errors))
        if options["dry_run"]:
            return [known.get(name) or build_unsaved_project(name) for name in names]
        return [known.get(name) or self._add(name, options) for name in names]

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_provision(project, actor=actor(), may_adopt=True)

    def _add(self, name: str, options: Options) -> Project:
        try:
            project = add_project(name, actor=actor())
        except ValidationError as error:
            raise command_error(WRONG_USAGE, explain_invalid(error)) from None
        if not options["json"]:
            self.stdout.write(f"Added the project {project.name} ({project.kubernetes_name} in Kubernetes).")
        return project


def _check_names(names: Sequence[str]) -> tuple[dict[str, Project], list[str]]:
    """Return the projects that exist, by name, and a message about each name that can't be used."""
    known: dict[str, Project] = {}
    errors: list[str] = []
    labels: dict[str, str] = {}
    for name in names:
        try:
            label = naming.kubernetes_name(naming.clean_name(name))
        except naming.InvalidNameError as error:
            errors.append(f"{quoted(name)}: {error}")
            continue
        if label in labels:
            errors.append(f"'{name}' and '{labels[label]}' are both '{label}' in Kubernetes. Choose another name.")
            continue
        labels[label] = name
        existing = Project.objects.with_name_of(name, label)
        if existing is None:
            continue
        if existing.name != name:
            errors.append(existing.explain_taken(name))
        elif existing.desired_state == DesiredState.DELETED:
            errors.append(str(find_refusal(Request.PROVISION, existing)))
        else:
            known[name] = existing
    return known, errors
