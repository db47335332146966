"""What people ask for: each request saves the intent, an event and the task in one transaction."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from projects.domain.request_policy import Request, explain_refusal
from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import Project
from projects.services.events import record_event
from projects.services.intent import save_intent
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_pass


def add_project(name: str, *, actor: str, **fields: object) -> Project:
    """Register a project under `name`; its Kubernetes name is derived once. Raises ValidationError in sentences."""
    project = Project(name=name, **fields)
    project.full_clean()
    try:
        with transaction.atomic():
            project.save(force_insert=True)
            record_event(project, actor=actor, reason="Registered", message=f"{actor} registered the project.")
    except IntegrityError:
        taken = Project.objects.filter(kubernetes_name=project.kubernetes_name).first()
        if taken is None:
            raise
        raise ValidationError({"name": taken.explain_taken(project.name)}) from None
    return project


def request_provision(project: Project, *, actor: str, may_adopt: bool = False) -> Outcome:
    """Ask for the project's database and sandbox. Asking twice is asking once.

    `may_adopt`: whether who asks may adopt. Then a Cluster that the project's name points to becomes its database; else
    such a Cluster is left alone, and the project says that somebody has to choose.
    """
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        refusal = explain_refusal(Request.PROVISION, current)
        if refusal:
            return Outcome(False, refusal)
        if current.desired_state == DesiredState.RUNNING and current.phase in Phase.in_progress():
            if may_adopt and not current.adopts_by_name:
                Project.objects.filter(pk=current.pk).update(adopts_by_name=True)
                message = f"{actor} asked for it too, who may adopt: a cluster that its name points to is used."
                record_event(current, actor=actor, reason=Reason.REQUESTED, message=message, at=now)
            enqueue_pass(current.pk, now=now)
            return Outcome(True, f"{current.name} is being provisioned already: {current.message}")
        if current.desired_state == DesiredState.RUNNING and current.phase == Phase.RUNNING:
            enqueue_pass(current.pk, now=now)
            return Outcome(True, f"{current.name} is running already; it is checked again.")
        retried = current.desired_state == DesiredState.RUNNING
        verb = "asked to try again" if retried else "asked for a database and a sandbox"
        if may_adopt and current.reason == Reason.ADOPTION_NEEDED:
            verb = "asked to adopt the cluster that was found"
        save_intent(
            current,
            DesiredState.RUNNING,
            Reason.REQUESTED,
            "The request is in the queue.",
            now,
            requested_at=now,
            adopts_by_name=may_adopt,
        )
        record_event(current, actor=actor, reason=Reason.REQUESTED, message=f"{actor} {verb}.", at=now)
    return Outcome(True, f"{current.name}: provisioning was put in the queue.")


def request_retry(project: Project, *, actor: str, may_adopt: bool = False) -> Outcome:
    """Ask for another try with a new deadline. Refused where there is nothing to try again.

    It adopts by name what the request that it repeats would have adopted, and only if who retries `may_adopt` too:
    whoever retries many projects that have failed has not chosen what one of them takes over.
    """
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        refusal = explain_refusal(Request.RETRY, current)
        if refusal:
            return Outcome(False, refusal)
        phase = Phase.DELETING if current.is_being_removed else Phase.WAITING
        kept = current.phase if current.phase == Phase.RUNNING else phase
        save_intent(
            current,
            DesiredState(current.desired_state),
            Reason.CANCELLING if current.is_cancelling else Reason.REQUESTED,
            "Another try is in the queue.",
            now,
            phase=Phase(kept),
            adopts_by_name=current.adopts_by_name and may_adopt,
            **_new_clock(current, now),
        )
        record_event(current, actor=actor, reason=Reason.REQUESTED, message=f"{actor} asked to try again.", at=now)
    return Outcome(True, f"{current.name}: another try was put in the queue.")


def request_update(project: Project, *, actor: str, what: str) -> Outcome:
    """Record that `what` of the project was changed, and have a running sandbox follow it.

    Its page shows the change until a pass has carried it out. A change asks for no new database: a project that has
    failed or waits gets a pass and keeps what it says.
    """
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        record_event(current, actor=actor, reason="Changed", message=f"{actor} changed {what}.", at=now)
        if current.desired_state != DesiredState.RUNNING:
            return Outcome(True, f"{current.name}: the change was saved.")
        if current.phase == Phase.RUNNING:
            Project.objects.filter(pk=current.pk).update(
                reason=Reason.REQUESTED,
                message=f"{actor} changed {what}: the sandbox restarts if it is concerned.",
                wanted_generation=F("wanted_generation") + 1,
                next_pass_at=now,
            )
        enqueue_pass(current.pk, now=now)
    return Outcome(True, f"{current.name}: the change was put in the queue.")


def request_delete(project: Project, *, actor: str, delete_adopted: bool = False) -> Outcome:
    """Ask for the deletion of the project's sandbox and database. An adopted database is released, not deleted,
    unless `delete_adopted` says so."""
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        refusal = explain_refusal(Request.DELETE, current)
        if refusal:
            return Outcome(False, refusal)
        if current.desired_state == DesiredState.DELETED and (current.delete_adopted or not delete_adopted):
            enqueue_pass(current.pk, now=now)
            return Outcome(True, f"{current.name} is being deleted already: {current.message}")
        save_intent(
            current,
            DesiredState.DELETED,
            Reason.DELETING,
            "The deletion is in the queue.",
            now,
            phase=Phase.DELETING,
            delete_adopted=delete_adopted,
            deletion_deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S),
        )
        adopted = ", an adopted database included" if delete_adopted else ""
        record_event(
            current,
            actor=actor,
            reason=Reason.DELETING,
            message=f"{actor} asked for the deletion of the project{adopted}.",
            level=Level.WARNING,
            at=now,
        )
    return Outcome(True, f"{current.name}: the deletion was put in the queue.")


def _new_clock(project: Project, now: datetime) -> dict[str, object]:
    """Return the fields that say since when another try is waited for, so that an outage does not fail it at once."""
    if project.is_being_removed:
        return {"deletion_deadline": now + timedelta(seconds=settings.READY_TIMEOUT_S)}
    return {} if project.phase == Phase.RUNNING else {"requested_at": now}
