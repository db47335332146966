"""What every request does: lock the project's row, refuse or save the intent, record the event, enqueue the pass."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from projects.domain.request_policy import Request, find_refusal
from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import Project
from projects.services.events import record_event
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_pass

_Arguments = ParamSpec("_Arguments")
_Write = Callable[Concatenate[Project, datetime, _Arguments], Outcome]
_Ask = Callable[Concatenate[Project, _Arguments], Outcome]

# The status message of a project from a request until its pass begins.
QUEUED = "Waiting for a queue worker."


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """The line of the timeline that a request leaves."""

    reason: str
    message: str
    level: Level = Level.INFO
    resource: str = ""


def lock_project(project_id: int) -> Project:
    """Return the project as it is now, and lock its row until the transaction ends.

    Lock it before any other row: requests and passes then never wait for each other in a circle.
    """
    return Project.objects.select_for_update().get(pk=project_id)


def project_request(request: Request) -> Callable[[_Write[_Arguments]], _Ask[_Arguments]]:
    """Turn a function that writes a request into one that people's requests call.

    The function is called with the locked row and the time of the request, in a separate transaction, unless the
    request policy refuses the request. Its callers pass the project alone, which may be older than the row.
    """

    def decorate(write: _Write[_Arguments]) -> _Ask[_Arguments]:
        @wraps(write)
        def ask(project: Project, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Outcome:
            now = timezone.now()
            with transaction.atomic():
                current = lock_project(project.pk)
                refusal = find_refusal(request, current)
                return Outcome.refused(refusal) if refusal else write(current, now, *args, **kwargs)

        return ask

    return decorate


def save_intent(
    project: Project,
    desired: DesiredState,
    reason: Reason,
    now: datetime,
    *,
    actor: str,
    event: RequestEvent,
    phase: Phase = Phase.WAITING,
    **fields: object,
) -> None:
    """Save what was asked for, enqueue the pass that carries it out, and record the event. The caller holds the
    transaction and the lock."""
    Project.objects.filter(pk=project.pk).update(
        desired_state=desired,
        phase=phase,
        reason=reason,
        message=QUEUED,
        wanted_generation=F("wanted_generation") + 1,
        asked_generation=F("wanted_generation") + 1,
        failures=0,
        next_pass_at=now,
        **fields,
    )
    enqueue_pass(project.pk, now=now)
    project.refresh_from_db()
    _record(project, event, actor, now)


def save_change(project: Project, message: str, now: datetime, *, actor: str, event: RequestEvent) -> None:
    """The same for a change of a running project that keeps its desired state and its phase: its page shows `message`
    until a pass has applied the change."""
    Project.objects.filter(pk=project.pk).update(
        reason=Reason.REQUESTED,
        message=message,
        wanted_generation=F("wanted_generation") + 1,
        next_pass_at=now,
    )
    _record(project, event, actor, now)
    enqueue_pass(project.pk, now=now)


def repeat_request(project: Project, message: str, now: datetime) -> Outcome:
    """Answer a request for what is under way already: enqueue a pass, and change nothing."""
    enqueue_pass(project.pk, now=now)
    return Outcome(True, message)


def _record(project: Project, event: RequestEvent, actor: str, at: datetime) -> None:
    record_event(
        project,
        actor=actor,
        reason=event.reason,
        message=event.message,
        level=event.level,
        resource=event.resource,
        at=at,
    )
