"""Dry runs on the command line: plans of what is, and of what a request would bring about."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable

from django.utils import timezone

from projects.domain.request_policy import POLICY, Request, find_refusal
from projects.domain.states import DesiredState
from projects.models import Project
from projects.services.adoption import Adoptable
from provisioning.decisions.types import Action
from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import cluster_kind
from provisioning.management.console import FAILED, PanelCommand, stop
from provisioning.management.findings import Verdict
from provisioning.management.next_provisioning import examine_next_provisioning
from provisioning.objects.names import UndecidedClusterError
from provisioning.reconcile.plan import Plan, plan
from provisioning.reconcile.sandbox_spec import build_spec


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
    refusals, planned = [], []
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
        if foreseen.action == Action.APPLY_CLUSTER.value:
            planned.append(project)
    _say_obstacles(command, planned)
    if refusals:
        raise stop(FAILED, "\n".join(refusals))


def _say_obstacles(command: PanelCommand, projects: Iterable[Project]) -> None:
    """Say what stands in the way of Clusters that don't exist yet, as doctor does. Raises CommandError (1)."""
    for namespace, project in {project.namespace: project for project in projects}.items():
        try:
            kube = connect()
            cluster = cluster_kind(kube.cluster_api_version())
            found = list(examine_next_provisioning(kube, cluster, namespace, build_spec(project)))
        except KubeError as error:
            raise stop(FAILED, str(error)) from None
        for finding in found:
            if finding.verdict is not Verdict.OK:
                command.say(f"{finding.verdict.value}: {finding.subject}: {finding.message}")
        if all(finding.verdict is Verdict.OK for finding in found):
            subjects = ", ".join(finding.subject for finding in found)
            command.say(f"Nothing stands in the way in namespace {namespace} ({subjects}).")


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
