"""Requests for a project's database and sandbox: add, provision, retry, update, delete."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.domain.request_policy import Request
from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import Project
from projects.services.events import record_event
from projects.services.intent import (
    RequestEvent,
    lock_project,
    project_request,
    repeat_request,
    save_change,
    save_intent,
)
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_pass


def add_project(name: str, *, actor: str, **fields: object) -> Project:
    """Add a project; its Kubernetes name is derived once, here. Raises ValidationError with messages for people."""
    project = Project(name=name, **fields)
    project.full_clean()
    try:
        with transaction.atomic():
            project.save(force_insert=True)
            record_event(project, actor=actor, reason="Registered", message=f"{actor} added the project.")
    except IntegrityError:
        taken = Project.objects.with_name_of(project.name, project.kubernetes_name)
        if taken is None:
            raise
        raise ValidationError({"name": taken.explain_taken(project.name)}) from None
    return project


@project_request(Request.PROVISION)
def request_provision(project: Project, now: datetime, *, actor: str, may_adopt: bool = False) -> Outcome:
    """Request the project's database and sandbox. A repeated request changes nothing.

    `may_adopt`: whether the actor may adopt clusters. If so, an existing Cluster that matches the project's name
    becomes its database; otherwise the pass ends with AdoptionNeeded if there is one.
    """
    is_repeated = project.desired_state == DesiredState.RUNNING
    if is_repeated and project.phase in Phase.in_progress():
        if may_adopt and not project.adopts_by_name:
            Project.objects.filter(pk=project.pk).update(adopts_by_name=True)
            message = f"{actor} repeated the request and may adopt: an existing cluster with this name will be adopted."
            record_event(project, actor=actor, reason=Reason.REQUESTED, message=message, at=now)
        return repeat_request(project, f"{project.name} is already being provisioned: {project.message}", now)
    if is_repeated and project.phase == Phase.RUNNING:
        return repeat_request(project, f"{project.name} is already running; checking it again.", now)
    verb = "requested another try" if is_repeated else "requested a database and a sandbox"
    if may_adopt and project.reason == Reason.ADOPTION_NEEDED:
        verb = "requested the adoption of the existing cluster"
    save_intent(
        project,
        DesiredState.RUNNING,
        Reason.REQUESTED,
        now,
        actor=actor,
        event=RequestEvent(Reason.REQUESTED, f"{actor} {verb}."),
        requested_at=now,
        adopts_by_name=may_adopt,
    )
    return Outcome(True, f"{project.name}: provisioning started.")


@project_request(Request.RETRY)
def request_retry(project: Project, now: datetime, *, actor: str, may_adopt: bool = False) -> Outcome:
    """Request another try of the provisioning, deletion or cancellation, with a new deadline.

    An existing Cluster is adopted by its name only if the repeated request would have adopted it and `may_adopt`: who
    retries many failed projects together has not chosen what each of them adopts.
    """
    if project.phase == Phase.RUNNING:
        phase = Phase.RUNNING
    else:
        phase = Phase.DELETING if project.is_being_removed else Phase.WAITING
    save_intent(
        project,
        DesiredState(project.desired_state),
        Reason.CANCELLING if project.is_cancelling else Reason.REQUESTED,
        now,
        actor=actor,
        event=RequestEvent(Reason.REQUESTED, f"{actor} requested another try."),
        phase=phase,
        adopts_by_name=project.adopts_by_name and may_adopt,
        **_restart_deadline(project, now),
    )
    return Outcome(True, f"{project.name}: retry started.")


def request_update(project: Project, *, actor: str, change: str) -> Outcome:
    """Record a change, such as "removed variable KEY", and apply it to a running sandbox.

    A change requests no new database: a project that has failed or is waiting gets a pass, and keeps its status.
    """
    now = timezone.now()
    with transaction.atomic():
        current = lock_project(project.pk)
        event = RequestEvent("Changed", f"{actor} {change}.")
        if current.desired_state == DesiredState.RUNNING and current.phase == Phase.RUNNING:
            message = f"{actor} {change}. The sandbox restarts if it uses that."
            save_change(current, message, now, actor=actor, event=event)
            return Outcome(True, f"{current.name}: change saved; applying it.")
        record_event(current, actor=actor, reason=event.reason, message=event.message, at=now)
        if current.desired_state != DesiredState.RUNNING:
            return Outcome(True, f"{current.name}: change saved.")
        enqueue_pass(current.pk, now=now)
    return Outcome(True, f"{current.name}: change saved; applying it.")


@project_request(Request.DELETE)
def request_delete(project: Project, now: datetime, *, actor: str, delete_adopted: bool = False) -> Outcome:
    """Request the deletion of the project's sandbox and database. An adopted database is released and kept, unless
    `delete_adopted`."""
    if project.desired_state == DesiredState.DELETED and (project.delete_adopted or not delete_adopted):
        return repeat_request(project, f"{project.name} is already being deleted: {project.message}", now)
    adopted = ", including its adopted database" if delete_adopted else ""
    save_intent(
        project,
        DesiredState.DELETED,
        Reason.DELETING,
        now,
        actor=actor,
        event=RequestEvent(Reason.DELETING, f"{actor} requested the deletion of the project{adopted}.", Level.WARNING),
        phase=Phase.DELETING,
        delete_adopted=delete_adopted,
        deletion_deadline=removal_deadline(now),
    )
    return Outcome(True, f"{project.name}: deletion started.")


def removal_deadline(now: datetime) -> datetime:
    """Return when a deletion or cancellation that starts now is late."""
    return now + timedelta(seconds=settings.READY_TIMEOUT_S)


def _restart_deadline(project: Project, now: datetime) -> dict[str, object]:
    """Return the fields that give another try its full time, so that an earlier outage does not fail it at once."""
    if project.is_being_removed:
        return {"deletion_deadline": removal_deadline(now)}
    return {} if project.phase == Phase.RUNNING else {"requested_at": now}
