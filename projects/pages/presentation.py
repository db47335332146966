"""How rows are shown: badges, the wait and its deadline, what to press, what changed. Reads rows, never the cluster."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.module_loading import import_string

from projects.domain.permissions import Person, may, may_adopt, may_delete_adopted
from projects.domain.progress import ReachedStep
from projects.domain.request_policy import Request, is_allowed
from projects.domain.states import CredentialsSource, DesiredState, Level, Origin, Phase, Reason
from projects.models import DatabaseCluster, Event, Project, Sandbox

# Label colours of the admin's theme.
PHASE_COLOURS: dict[str, str] = {
    Phase.NEW: "default",
    Phase.WAITING: "info",
    Phase.CREATING: "info",
    Phase.RUNNING: "success",
    Phase.FAILED: "danger",
    Phase.DELETING: "warning",
    Phase.DELETED: "default",
}
LEVEL_COLOURS: dict[str, str] = {Level.INFO: "info", Level.WARNING: "warning", Level.ERROR: "danger"}
# One kind of event has one colour, whoever caused it: a deletion is a warning also where the panel carries it out.
_LEVEL_OF_KIND: dict[str, str] = {Reason.DELETING: Level.WARNING}
CREDENTIALS_COLOURS: dict[str, str] = {
    CredentialsSource.NONE: "default",
    CredentialsSource.CAPTURED: "success",
    CredentialsSource.DEFAULT: "warning",
}

# Scheduling changes with every pass and is nothing that a page shows.
_UNSHOWN_FIELDS = frozenset(
    {"queued_at", "lease_token", "lease_until", "next_pass_at", "failures", "password", "environment_digest", "uid"}
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a project waits for, since when, until when patience lasts, and what happens by then."""

    what: str
    since: datetime
    deadline: datetime
    promise: str

    @property
    def total_s(self) -> float:
        return (self.deadline - self.since).total_seconds()


def current_wait(project: Project) -> Wait | None:
    """Return what an unsettled project waits for; None where nothing with a deadline is under way.

    A deadline is READY_TIMEOUT_S after the wait's start, which is not the first request: Retry starts another one.
    """
    if project.phase not in Phase.in_progress():
        return None
    if project.is_cancelling:
        return _wait("the cancellation", project.deletion_deadline, "It is done by then, or the panel says why.")
    if project.desired_state == DesiredState.DELETED:
        return _wait("the deletion", project.deletion_deadline, "It is done by then, or the panel says why.")
    for what, resource in (("the database", project.database), ("the sandbox", project.sandbox)):
        if resource and not resource.is_settled:
            return _wait(what, resource.deadline, "It is up by then, or the panel says why.")
    return None


def is_on_its_way(project: Project, now: datetime) -> bool:
    """Whether what is under way goes on as it should: in time, and with no trouble that somebody could do something
    about. Neither Retry nor Forget is offered then."""
    is_troubled = project.is_out_of_reach or project.reason in {*Reason.needs_person(), Reason.INTERNAL_ERROR}
    if project.phase not in Phase.in_progress() or is_troubled:
        return False
    wait = current_wait(project)
    return now < wait.deadline if wait else not project.is_being_removed


def _wait(what: str, deadline: datetime | None, promise: str) -> Wait | None:
    if deadline is None:
        return None
    return Wait(what, deadline - timedelta(seconds=settings.READY_TIMEOUT_S), deadline, promise)


@dataclass(frozen=True, slots=True)
class Action:
    """A button: which request it makes, what stands on it, whether it is the one to press now, and whether a page asks
    first."""

    name: str
    label: str
    icon: str
    is_primary: bool = False
    asks_first: bool = False


PROVISION = Action("provision", "Provision", "play_arrow", is_primary=True)
CANCEL = Action("cancel", "Cancel", "undo")
FORGET = Action("forget", "Forget", "link_off", asks_first=True)
RETRY = Action("retry", "Retry", "refresh", is_primary=True)
ADOPT = Action("provision", "Adopt", "add_link", is_primary=True)
TRY_AGAIN = Action("retry", "Retry", "refresh")
CHECK = Action("provision", "Check again", "refresh")
DELETE = Action("delete", "Delete", "delete", asks_first=True)


def available_actions(project: Project, user: Person) -> list[Action]:
    """Return the buttons that make sense in the project's state and that the user may press."""
    actions: list[Action] = []
    goes_well = is_on_its_way(project, timezone.now())
    if may(user, "provision_project", project):
        if project.desired_state == DesiredState.RUNNING and project.phase == Phase.RUNNING:
            actions.append(CHECK)
        elif project.reason == Reason.ADOPTION_NEEDED and may_adopt(user) and is_allowed(Request.PROVISION, project):
            actions += [ADOPT, TRY_AGAIN]
        elif is_allowed(Request.RETRY, project):
            if not goes_well:
                actions.append(RETRY if project.phase == Phase.FAILED else TRY_AGAIN)
        elif is_allowed(Request.PROVISION, project):
            actions.append(PROVISION)
        if not project.is_cancelling and is_allowed(Request.CANCEL, project):
            actions.append(CANCEL)
    if may(user, "delete_project", project):
        if project.desired_state != DesiredState.DELETED and is_allowed(Request.DELETE, project):
            actions.append(DELETE)
        if not goes_well and is_allowed(Request.FORGET, project):
            actions.append(FORGET)
    return actions


def shown_level(event: Event) -> str:
    """Return the level that gives an event its colour in a timeline."""
    return _LEVEL_OF_KIND.get(event.reason, event.level)


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
    """Return every step with its state: the first one not reached is where the project is, or where it failed.

    None at all for a project that was deleted before anything was asked for.
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


def linkable_urls(sandbox: Sandbox | None) -> dict[str, str]:
    """Return the sandbox's addresses by port name, those of http and https only."""
    urls: dict[str, str] = sandbox.urls if sandbox else {}
    return {name: url for name, url in urls.items() if url.startswith(("http://", "https://"))}


def next_move(project: Project, user: Person) -> str:
    """Return, in a sentence, what the user can do now, or who else can; "" where nothing needs to be done."""
    needs_person = project.reason in Reason.needs_person()
    may_press = may(user, "provision_project", project)
    match project.phase:
        case _ if is_on_its_way(project, timezone.now()):
            return "Nothing needs to be pressed: this page follows along."
        case Phase.NEW if not may_press:
            return "It has not been provisioned yet: its owner can do that, or an Operator."
        case Phase.NEW:
            return "Press Provision to give it a database and a sandbox."
        case Phase.FAILED if needs_person:
            return "Somebody has to act as the message says, then press Retry: it hardly goes away by itself."
        case Phase.WAITING | Phase.CREATING | Phase.DELETING | Phase.RUNNING if needs_person:
            return "Somebody has to act as the message says; the panel keeps looking, and then goes on by itself."
        case Phase.FAILED if not may_press:
            return "Its owner or an Operator can have the panel try again. If the cause goes away, it heals by itself."
        case Phase.FAILED | Phase.DELETING if project.is_being_removed and may_press:
            return "Press Retry to ask again, or Forget to end the project and leave behind what won't go."
        case Phase.FAILED if project.reason == Reason.DEADLINE_EXCEEDED:
            return ""  # its message says it: what a shell shows has no line of ours beside it
        case Phase.FAILED:
            return "Press Retry for another try with a new deadline. If the cause goes away, it heals by itself."
        case Phase.RUNNING if project.reason == Reason.DRIFTED and not may_press:
            return "Its owner or an Operator can set it back, or have the panel take such changes back."
        case Phase.RUNNING if project.reason == Reason.DRIFTED:
            return "Set it back by hand, or choose under Edit that the panel takes such changes back."
        case Phase.WAITING | Phase.CREATING if may_press:
            return "It should have come to its end by now. Press Retry for another try with a new deadline."
        case Phase.DELETED if project.is_forgotten:
            return "No pass looks at it any more. What it left is listed above, and under Orphans while it is there."
        case Phase.DELETED:
            return "Its row and timeline stay, so that its name is never used again."
        case _:
            return ""


def deletion_summary(project: Project, user: Person) -> list[tuple[str, str, bool]]:
    """Return what deleting a project does if the user asks for it: (resource, sentence, whether it is kept unless a
    checkbox says otherwise), a line each."""
    lines: list[tuple[str, str, bool]] = []
    if project.sandbox:
        lines.append((f"Sandbox {project.sandbox.name}", "will be deleted with its storage.", False))
    if project.database:
        name = f"Database {project.database.name}"
        if is_adopted(project.database):
            unless = ", unless you tick the box below" if offers_adopted(project, user) else ""
            lines.append((name, f"was adopted: it is released and kept{unless}.", True))
        else:
            lines.append((name, "will be deleted with all of its data.", False))
    if not lines:
        lines.append(("No database and no sandbox", "exist yet: only the project is marked as deleted.", False))
    return lines


def is_adopted(database: DatabaseCluster | None) -> bool:
    return database is not None and database.origin == Origin.ADOPTED


def offers_adopted(project: Project, user: Person) -> bool:
    """Whether the user is asked if the project's database, which was adopted, is to be deleted too."""
    return is_adopted(project.database) and may_delete_adopted(user)


def version_of(project: Project, *others: object) -> str:
    """Return a digest of everything that the project's page shows, `others` included: equal digests, equal pages.

    Expects the annotation `last_event_id`, so that a page of rows needs no query for each.
    """
    goes_well = is_on_its_way(project, timezone.now())
    parts: list[str] = [str(getattr(project, "last_event_id", "")), str(goes_well), repr(others)]
    rows: tuple[models.Model | None, ...] = (project, project.database, project.sandbox)
    for row in rows:
        if row is None:
            parts.append("-")
            continue
        parts += [
            f"{field.attname}={getattr(row, field.attname)!r}"
            for field in row._meta.concrete_fields
            if field.name not in _UNSHOWN_FIELDS
        ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def refresh_every(projects: Iterable[Project]) -> str:
    """Return how often a page with these projects asks for what is new, as htmx writes it: often while something is
    under way; now and then once all is settled, since others act too, and things fail by themselves."""
    return "15s" if all(project.is_carried_out for project in projects) else "1500ms"


class PartHealth(Protocol):
    """Whether a part of the panel is alive, and whether something outside keeps it from its work; the message says what
    that means and what to do."""

    @property
    def alive(self) -> bool: ...

    @property
    def is_degraded(self) -> bool: ...

    @property
    def message(self) -> str: ...


class PanelHealth(Protocol):
    @property
    def watcher(self) -> PartHealth: ...

    @property
    def queue(self) -> PartHealth: ...


def panel_warnings() -> list[str]:
    """Return a sentence for each part of the panel that is not running or can't do its work. PANEL_HEALTH names the
    function that knows."""
    path: str = getattr(settings, "PANEL_HEALTH", "")
    if not path:
        return []
    health: PanelHealth = import_string(path)()
    return [part.message for part in (health.queue, health.watcher) if not part.alive or part.is_degraded]


def with_last_event(projects: QuerySet[Project]) -> QuerySet[Project]:
    """Annotate each project with the id of its latest event, as `display.version_of` expects."""
    latest = Event.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    return projects.annotate(last_event_id=Subquery(latest))
