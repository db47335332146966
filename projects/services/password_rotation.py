"""The request for a new password of a project's database; a pass carries it out."""

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DesiredState, Level, Origin, Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.events import record_event
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_pass


def request_password_rotation(project: Project, *, actor: str, with_adopted: bool = False) -> Outcome:
    """Ask for a new password of the project's database, and for its sandbox to restart with it. Asking twice is asking
    once. An adopted database may have users that the panel knows nothing of: it takes `with_adopted`."""
    now = timezone.now()
    with transaction.atomic():
        current = Project.objects.select_for_update().get(pk=project.pk)
        database = current.database
        refusal = explain_refusal(current, with_adopted=with_adopted)
        if refusal or database is None:
            return Outcome(False, refusal)
        if database.rotation_requested_at is not None:
            enqueue_pass(current.pk, now=now)
            return Outcome(True, f"{current.name}: its password is being changed already. {current.message}")
        DatabaseCluster.objects.filter(pk=database.pk).update(
            rotation_requested_at=now, rotation_begun_at=None, pending_password=EncryptedText()
        )
        Project.objects.filter(pk=current.pk).update(
            reason=Reason.REQUESTED,
            message=f"{actor} asked for a new password of the database: the sandbox restarts with it.",
            wanted_generation=F("wanted_generation") + 1,
            next_pass_at=now,
        )
        record_event(
            current,
            actor=actor,
            resource=f"database {database.name}",
            level=Level.WARNING,
            reason="PasswordRotationRequested",
            message=f"{actor} asked for a new password of the database.",
            at=now,
        )
        enqueue_pass(current.pk, now=now)
    return Outcome(True, f"{current.name}: the change of its database's password was put in the queue.")


def explain_refusal(project: Project, *, with_adopted: bool) -> str:
    """Return why a request would be refused, as the rows are now; "" where it would be accepted."""
    database = project.database
    is_unsaid = database is not None and database.origin == Origin.ADOPTED and not with_adopted
    is_asked = database is not None and database.rotation_requested_at is not None
    return explain_no_rotation(project) or (explain_adopted(project) if is_unsaid and not is_asked else "")


def explain_adopted(project: Project) -> str:
    return (
        f"The database of {project.name} was adopted: whoever else uses its password is locked out by a new one. Say "
        "so on the project's page, or with --with-adopted."
    )


def explain_no_rotation(project: Project) -> str:
    """Return why the password of the project's database can't be changed now, and what to do; "" where it can."""
    name, database = project.name, project.database
    if project.phase == Phase.DELETED:
        return f"{name} is deleted: the panel has no password of it any more."
    if project.desired_state == DesiredState.DELETED:
        return f"{name} is being deleted: its database needs no new password any more."
    if project.phase != Phase.RUNNING:
        return f"{name} has to be running before its database's password is changed. Press Provision or Retry first."
    if database is None or database.captured_at is None or not database.password:
        return (
            f"{name} has no credentials of its own yet, so there is nothing to change. The password of the default "
            "database is its owner's to change."
        )
    return ""
