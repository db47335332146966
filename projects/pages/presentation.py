"""How a project is shown: colors, the current wait, the steps, the next action, what a deletion does."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from projects.domain.permissions import Person, may, may_delete_adopted
from projects.domain.progress import ReachedStep
from projects.domain.request_policy import Request, find_refusal
from projects.domain.states import CredentialsSource, DesiredState, DriftPolicy, Level, Origin, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, Sandbox

# Label colors of the admin's theme.
PHASE_COLORS: dict[str, str] = {
    Phase.NEW: "default",
    Phase.WAITING: "info",
    Phase.CREATING: "info",
    Phase.RUNNING: "success",
    Phase.FAILED: "danger",
    Phase.DELETING: "warning",
    Phase.DELETED: "default",
}
LEVEL_COLORS: dict[str, str] = {Level.INFO: "info", Level.WARNING: "warning", Level.ERROR: "danger"}
# A deletion is a warning in the timeline also where the panel carries it out.
_LEVELS_BY_REASON: dict[str, str] = {Reason.DELETING: Level.WARNING}
CREDENTIALS_COLORS: dict[str, str] = {
    CredentialsSource.NONE: "default",
    CredentialsSource.CAPTURED: "success",
    CredentialsSource.DEFAULT: "warning",
}


# --- Waiting ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """What a project waits for, since when, and when the wait times out."""

    what: str
    since: datetime
    deadline: datetime

    @property
    def timeout_s(self) -> float:
        return (self.deadline - self.since).total_seconds()


def current_wait(project: Project) -> Wait | None:
    """Return what a project in progress waits for; None without a deadline.

    The wait begins READY_TIMEOUT_S before its deadline, which is not always the first request: Retry restarts the
    timer.
    """
    if project.phase not in Phase.in_progress():
        return None
    if project.is_cancelling:
        return _wait("cancellation", project.deletion_deadline)
    if project.desired_state == DesiredState.DELETED:
        return _wait("deletion", project.deletion_deadline)
    for what, resource in (("database", project.database), ("sandbox", project.sandbox)):
        if resource and not resource.is_settled:
            return _wait(what, resource.deadline)
    return None


def _wait(what: str, deadline: datetime | None) -> Wait | None:
    if deadline is None:
        return None
    return Wait(what, deadline - timedelta(seconds=settings.READY_TIMEOUT_S), deadline)


def is_progressing(project: Project, now: datetime) -> bool:
    """Whether a project in progress is within its deadline and has no problem that a person could fix."""
    is_troubled = project.is_out_of_reach or project.reason in {*Reason.needs_person(), Reason.INTERNAL_ERROR}
    if project.phase not in Phase.in_progress() or is_troubled:
        return False
    wait = current_wait(project)
    return now < wait.deadline if wait else not project.is_being_removed


# --- The next action -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NextAction:
    """What the user can do now: a code for programs, such as `retry` or `none`, and a sentence for people."""

    code: str
    message: str


def next_action(project: Project, user: Person) -> NextAction | None:
    """Return what the user can do about the project, or who else can; None where the status says it all."""
    needs_person = project.reason in Reason.needs_person()
    may_provision = may(user, "provision_project", project)
    if (refusal := find_refusal(Request.PROVISION, project)) and refusal.reason == Reason.NAMESPACE_NOT_ALLOWED:
        return NextAction("delete", refusal.message)
    match project.phase:
        case Phase.WAITING | Phase.CREATING if is_progressing(project, timezone.now()) and _may_recover(project):
            return NextAction("none", "Waiting in case it recovers. This page updates automatically.")
        case Phase.CREATING if project.reason == Reason.DRIFTED and project.drift and _reverts(project):
            return NextAction("fix", "Stop what changes it, and undo the change in the cluster.")
        case Phase.CREATING if project.reason == Reason.DRIFTED and project.drift and may_provision:
            return NextAction("edit", "Undo the change in the cluster, or set the drift policy to Revert under Edit.")
        case _ if is_progressing(project, timezone.now()):
            return NextAction("none", "No action needed. This page updates automatically.")
        case Phase.NEW if not may_provision:
            return NextAction("ask", "The owner or an Operator can provision this project.")
        case Phase.NEW:
            return NextAction("provision", "Provision the project to create its database and sandbox.")
        case Phase.FAILED if project.reason == Reason.DATABASE_STOPPED:
            return NextAction("fix", "Start the database. The panel keeps checking and continues automatically.")
        case Phase.FAILED if needs_person:
            return NextAction("fix-and-retry", "Fix the problem above, then retry.")
        case Phase.WAITING | Phase.CREATING | Phase.DELETING | Phase.RUNNING if needs_person:
            return NextAction("fix", "Fix the problem above. The panel keeps checking and continues automatically.")
        case Phase.FAILED if not may_provision and project.reason == Reason.DEADLINE_EXCEEDED:
            return NextAction("ask", "The owner or an Operator can retry.")
        case Phase.FAILED if not may_provision:
            return NextAction(
                "ask", "Still monitoring; recovers automatically. The owner or an Operator can restart the timer."
            )
        case Phase.FAILED | Phase.DELETING if project.is_being_removed and may_provision:
            return NextAction("retry", "Retry, or forget the project and leave the remaining objects in the cluster.")
        case Phase.FAILED if project.reason == Reason.DEADLINE_EXCEEDED:
            return None  # the status message ends with it, since commands show that message alone
        case Phase.FAILED:
            return NextAction("retry", "Still monitoring; recovers automatically. Retry restarts the timer.")
        case Phase.RUNNING if project.reason == Reason.DRIFTED and not may_provision:
            return NextAction("ask", "The owner or an Operator can undo the change, or set the drift policy to Revert.")
        case Phase.RUNNING if project.reason == Reason.DRIFTED:
            return NextAction("edit", "Undo the change in the cluster, or set the drift policy to Revert under Edit.")
        case Phase.WAITING | Phase.CREATING if may_provision:
            return NextAction("retry", "Taking longer than expected. Retry restarts the timer.")
        case Phase.DELETED if project.is_forgotten:
            return NextAction(
                "orphans", "No longer monitored. Remaining objects are listed above and under Orphaned objects."
            )
        case Phase.DELETED:
            return NextAction("none", "History is kept. The name can't be reused.")
        case _:
            return None


def _reverts(project: Project) -> bool:
    return (project.drift_policy or settings.DRIFT_POLICY) == DriftPolicy.MEND


def _may_recover(project: Project) -> bool:
    """Whether KubeBlocks reports a failure that it may still resolve before the deadline."""
    return project.reason == Reason.CLUSTER_FAILED


# --- Steps, events, addresses ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step as a page shows it. `state` is done, current, failed, skipped or open."""

    step: ReachedStep
    state: str
    icon: str


_STEP_ICONS = {
    "done": "check_circle",
    "current": "progress_activity",
    "failed": "error",
    "skipped": "do_not_disturb_on",
    "open": "radio_button_unchecked",
}


def step_lines(project: Project) -> list[StepLine]:
    """Return every step with its state. The first step not reached is the current one, or the one that failed.

    Empty for a project that was deleted before it was provisioned.
    """
    steps = project.steps()
    if project.phase == Phase.DELETED and not any(step.at for step in steps):
        return []
    last_reached = max((index for index, step in enumerate(steps) if step.at), default=-1)
    wants_more = project.desired_state == DesiredState.RUNNING and project.phase != Phase.RUNNING
    lines: list[StepLine] = []
    for index, step in enumerate(steps):
        if step.at:
            state = "done"
        elif step.note and index < last_reached:
            state = "skipped"
        elif wants_more:
            state = "failed" if project.phase == Phase.FAILED else "current"
            wants_more = False
        else:
            state = "open"
        lines.append(StepLine(step, state, _STEP_ICONS[state]))
    return lines


def event_level(event: Event) -> str:
    """Return the level that colors an event in a timeline."""
    return _LEVELS_BY_REASON.get(event.reason, event.level)


def linkable_urls(sandbox: Sandbox | None) -> dict[str, str]:
    """Return the sandbox's http and https URLs by port name."""
    urls: dict[str, str] = sandbox.urls if sandbox else {}
    return {name: url for name, url in urls.items() if url.startswith(("http://", "https://"))}


def explain_missing_database(project: Project) -> str:
    """Return what the database card says of a project without a live database."""
    if project.is_forgotten:
        return "Forgotten. Remaining objects are listed in the events."
    if project.phase != Phase.DELETED:
        return "No database yet."
    if project.last_database is None:
        return "No database."
    return (
        "Database released."
        if is_adopted(project.last_database) and not project.delete_adopted
        else "Database deleted."
    )


def explain_missing_sandbox(project: Project) -> str:
    """Return what the sandbox card says of a project without a live sandbox."""
    if project.is_forgotten:
        return "Forgotten. Remaining objects are listed in the events."
    if project.phase == Phase.DELETED:
        return "Sandbox deleted." if project.last_sandbox else "No sandbox."
    if project.is_being_removed:
        return "No sandbox."
    return "Starts once the database credentials are captured." if project.database else "No sandbox yet."


# --- Deletion --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeletionEffect:
    """What a deletion does to one resource. `is_kept`: it is released, unless the user also chooses to delete it."""

    resource: str
    effect: str
    is_kept: bool = False


def deletion_effects(project: Project, user: Person) -> list[DeletionEffect]:
    """Return what deleting the project does to each of its resources if the user requests it."""
    effects: list[DeletionEffect] = []
    if project.sandbox:
        effects.append(DeletionEffect(f"Sandbox {project.sandbox.name}", "and its storage will be deleted."))
    if project.database:
        name = f"Database {project.database.name}"
        if is_adopted(project.database):
            unless = ", unless you select the option below" if can_delete_adopted(project, user) else ""
            effects.append(DeletionEffect(name, f"was adopted: it will be released and kept{unless}.", is_kept=True))
        else:
            effects.append(DeletionEffect(name, "and all its data will be deleted."))
    if not effects:
        effects.append(DeletionEffect("No database or sandbox", "exists. Only the project will be deleted."))
    return effects


def is_adopted(database: DatabaseCluster | None) -> bool:
    return database is not None and database.origin == Origin.ADOPTED


def can_delete_adopted(project: Project, user: Person) -> bool:
    """Whether the user can choose to delete the project's adopted database with the project."""
    return is_adopted(project.database) and may_delete_adopted(user)
