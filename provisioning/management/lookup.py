"""Names on the command line, and the projects that they mean."""

import shlex
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.core.exceptions import ValidationError

from projects.domain import naming
from projects.models import Project
from provisioning.management.console import FAILED, WRONG_USAGE, command_error, explain_invalid, quoted


def find_project(name: str) -> Project | None:
    """Return the project of this name, as written or as in Kubernetes; deleted ones too."""
    tidy = " ".join(name.split())
    found = Project.objects.with_resources().filter(name=tidy).first()
    return found or Project.objects.with_resources().filter(kubernetes_name=tidy).first()


def without_repeats(names: Iterable[str]) -> list[str]:
    """Return the names in their order, white space tidied, each once."""
    return list(dict.fromkeys(" ".join(name.split()) for name in names))


def find_projects(names: Sequence[str], *, may_be_new: bool = False) -> list[Project]:
    """Return the projects of these names, each once. Raises CommandError (1) with a message about unknown names."""
    projects, unknown = look_up(names, may_be_new=may_be_new)
    if unknown:
        raise command_error(FAILED, "\n".join(unknown))
    return projects


def look_up(names: Sequence[str], *, may_be_new: bool) -> tuple[list[Project], list[str]]:
    """Return the projects of these names, each once, and a message about each unknown name. With `may_be_new` it says
    which Clusters exist, and how to add the project."""
    found: dict[int, Project] = {}
    unknown: list[str] = []
    for name in without_repeats(names):
        project = find_project(name)
        if project is not None:
            found[project.pk] = project
            continue
        unknown.append(_explain_invalid_name(name) or (_explain_new(name) if may_be_new else _explain_unknown(name)))
    return list(found.values()), unknown


def build_unsaved_project(name: str) -> Project:
    """Return the project that would be added under this name. Raises CommandError (2) if the name can't be used."""
    project = Project(name=name, namespace=settings.KUBE_NAMESPACE)
    try:
        project.full_clean()
    except ValidationError as error:
        raise command_error(WRONG_USAGE, explain_invalid(error)) from None
    return project


def reload_projects(projects: Iterable[Project]) -> list[Project]:
    """Return the same projects, in the same order, as their rows are now: three queries for any number of projects."""
    keys = [project.pk for project in projects]
    rows = {project.pk: project for project in Project.objects.with_resources().filter(pk__in=keys)}
    return [rows[key] for key in keys if key in rows]


def _explain_unknown(name: str) -> str:
    return f"There is no project {name}. `manage.py status` lists the projects."


def _explain_new(name: str) -> str:
    # Imported here: the Kubernetes client takes a second to import, which other calls need not pay.
    from provisioning.inventory.adoption import explain_unknown

    return (
        f"{explain_unknown(name, settings.KUBE_NAMESPACE)}\n"
        f"`manage.py status` lists the projects; `manage.py provision {shlex.quote(name)}` adds this one."
    )


def _explain_invalid_name(name: str) -> str:
    """Return what is wrong with a name that no project can have; "" for a valid name."""
    try:
        naming.clean_name(name)
    except naming.InvalidNameError as error:
        return f"There is no project {quoted(name)}. {error}"
    return ""
