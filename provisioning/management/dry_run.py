"""Dry runs on the command line: plans of what is, and of what a request would bring about."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable

from django.utils import timezone

from projects.domain.request_policy import POLICY, Request, find_refusal
from projects.domain.states import DesiredState
from projects.models import Project
from projects.services.adoption import Adoptable
from provisioning.kube.errors import KubeError
from provisioning.management.console import FAILED, PanelCommand, stop
from provisioning.objects.names import UndecidedClusterError
from provisioning.reconcile.plan import Plan, plan


def add_dry_run_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what a pass would do first; ask for nothing")


def print_plans(
    command: PanelCommand,
    projects: Iterable[Project],
    *,
    as_json: bool,
    request: Request | None = None,
    delete_adopted: bool = False,
    rotates: bool = False,
) -> None:
    """Print what a pass would do for each project, now, after `request`, or, if it `rotates`, once a new password was
    asked for; those that are not stored yet would be added first. Raises CommandError (1)."""
    refusals = []
    is_retry = request is Request.RETRY
    for project in projects:
        refusal = find_refusal(request, project) if request else None
        if refusal:
            refusals.append(refusal.message)
            continue
        desired = POLICY[request].desired or DesiredState(project.desired_state) if request else None
        deletes_adopted = project.delete_adopted if is_retry else delete_adopted
        try:
            foreseen = plan(
                project,
                timezone.now(),
                desired=desired,
                delete_adopted=deletes_adopted,
                is_retry=is_retry,
                rotates=rotates,
            )
        except (KubeError, UndecidedClusterError) as error:
            raise stop(FAILED, f"{project.name}: {error}") from None
        _print(command, project, foreseen, as_json=as_json)
    if refusals:
        raise stop(FAILED, "\n".join(refusals))


def print_adoption(command: PanelCommand, project: Project, cluster: Adoptable, *, as_json: bool) -> None:
    """Print what a pass would do if the project adopted the Cluster. Raises KubeError."""
    foreseen = plan(project, timezone.now(), desired=DesiredState.RUNNING, adopted=cluster)
    _print(command, project, foreseen, as_json=as_json)


def _print(command: PanelCommand, project: Project, foreseen: Plan, *, as_json: bool) -> None:
    if foreseen.adds_project:
        command.say(f"{project.name}: would be added ({project.kubernetes_name} in Kubernetes).")
    if as_json:
        command.stdout.write(json.dumps(foreseen.as_json(), ensure_ascii=False))
    else:
        command.stdout.write("\n".join(foreseen.lines()))
    command.stdout.flush()
