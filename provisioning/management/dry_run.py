"""`--dry-run` and `plan`: what a pass would do now, and what it would do after a request."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from django.utils import timezone

from projects.domain.request_policy import POLICY, Refusal, Request
from projects.domain.states import DesiredState, ReplacementChoice
from projects.models import Project
from projects.services.adoption import Adoptable
from provisioning.decisions.types import Action
from provisioning.identity import connect_to_own_cluster
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import cluster_kind
from provisioning.management.console import FAILED, PanelCommand, command_error
from provisioning.management.findings import Verdict
from provisioning.management.next_provisioning import examine_next_provisioning
from provisioning.objects.names import UndecidedClusterError
from provisioning.reconcile.plan import Plan, plan
from provisioning.reconcile.sandbox_spec import build_spec


def add_dry_run_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and change nothing")


def print_plans(command: PanelCommand, projects: Iterable[Project], *, as_json: bool) -> None:
    """Print what a pass would do now for each project. Raises CommandError (1)."""
    planned = [
        (project, _print_plan(command, project, partial(plan, project, timezone.now()), as_json=as_json))
        for project in projects
    ]
    _print_obstacles(command, planned)


def print_plans_after(
    request: Request,
    command: PanelCommand,
    projects: Iterable[Project],
    find_refusal: Callable[[Project], Refusal | None],
    *,
    as_json: bool,
    delete_adopted: bool = False,
) -> None:
    """Print what a pass would do for each project after this request. Projects that are not stored yet would be added.

    Raises CommandError (1), also for requests that would be refused, once the other plans are printed.
    """
    refusals, planned = [], []
    for project in projects:
        refusal = find_refusal(project)
        if refusal:
            refusals.append(refusal.message)
            continue
        is_retry, on_database = request is Request.RETRY, _suppose_on_database(request)
        make_plan = partial(
            plan,
            project,
            timezone.now(),
            desired=None if on_database else POLICY[request].desired or DesiredState(project.desired_state),
            delete_adopted=project.delete_adopted if is_retry else delete_adopted,
            is_retry=is_retry,
            on_database=on_database,
        )
        planned.append((project, _print_plan(command, project, make_plan, as_json=as_json)))
    _print_obstacles(command, planned)
    if refusals:
        raise command_error(FAILED, "\n".join(refusals))


def _suppose_on_database(request: Request) -> Mapping[str, object]:
    """Return the fields of the database's row that a request sets, if it keeps the project's desired state."""
    match request:
        case Request.ROTATE_PASSWORD:
            return {"rotation_requested_at": timezone.now()}
        case Request.VERIFY:
            return {"verification_requested_at": timezone.now()}
        case Request.RESTORE_SECRET:
            return {"replacement_choice": ReplacementChoice.RESTORE}
        case Request.USE_SECRET:
            return {"replacement_choice": ReplacementChoice.USE}
        case _:
            return {}


def _print_obstacles(command: PanelCommand, planned: Iterable[tuple[Project, Plan]]) -> None:
    """Print on stderr what would prevent Clusters that are to be created, as doctor does. Raises CommandError (1)."""
    creating = [project for project, first in planned if first.action == Action.APPLY_CLUSTER.value]
    for namespace, project in {project.namespace: project for project in creating}.items():
        try:
            kube = connect_to_own_cluster()
            cluster = cluster_kind(kube.cluster_api_version())
            findings = list(examine_next_provisioning(kube, cluster, namespace, build_spec(project)))
        except KubeError as error:
            raise command_error(FAILED, str(error)) from None
        problems = [finding for finding in findings if finding.verdict is not Verdict.OK]
        for finding in problems:
            command.say(f"{finding.verdict.value}: {finding.subject}: {finding.message}")
        if not problems:
            subjects = ", ".join(finding.subject for finding in findings)
            command.say(f"No problems found in namespace {namespace} ({subjects}).")


def print_adoption_plan(command: PanelCommand, project: Project, cluster: Adoptable, *, as_json: bool) -> None:
    """Print what a pass would do if the project adopted the Cluster. Raises CommandError (1)."""
    make_plan = partial(plan, project, timezone.now(), desired=DesiredState.RUNNING, adopted=cluster)
    _print_plan(command, project, make_plan, as_json=as_json)


def _print_plan(command: PanelCommand, project: Project, make_plan: Callable[[], Plan], *, as_json: bool) -> Plan:
    try:
        planned = make_plan()
    except (KubeError, UndecidedClusterError) as error:
        raise command_error(FAILED, f"{project.name}: {error}") from None
    if planned.adds_project:
        command.say(f"{project.name}: would be added ({project.kubernetes_name} in Kubernetes).")
    if as_json:
        command.print_json(planned.as_json())
    else:
        command.stdout.write("\n".join(planned.lines()))
    command.stdout.flush()
    return planned
