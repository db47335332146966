"""The request to rotate the password of a project's database; a pass carries it out."""

from datetime import datetime

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.request_policy import Refusal, Request, find_refusal
from projects.domain.states import Level, Origin
from projects.models import DatabaseCluster, Project
from projects.services.intent import RequestEvent, project_request, repeat_request, save_change
from projects.services.outcome import Outcome


@project_request(Request.ROTATE_PASSWORD)
def request_password_rotation(project: Project, now: datetime, *, actor: str, with_adopted: bool = False) -> Outcome:
    """Request a new password for the project's database, and a restart of its sandbox with it. A repeated request
    changes nothing.

    An adopted database may have users that the panel does not know: rotating its password needs `with_adopted`.
    """
    database = project.databases.get(retired_at=None)
    if database.rotation_requested_at is not None:
        message = f"{project.name}: the password is already being rotated. {project.message}"
        return repeat_request(project, message, now)
    refusal = _find_adopted_refusal(database, with_adopted=with_adopted)
    if refusal:
        return Outcome.refused(refusal)
    DatabaseCluster.objects.filter(pk=database.pk).update(
        rotation_requested_at=now, rotation_begun_at=None, pending_password=EncryptedText()
    )
    save_change(
        project,
        f"{actor} requested a new database password. The sandbox restarts with it.",
        now,
        actor=actor,
        event=RequestEvent(
            "PasswordRotationRequested",
            f"{actor} requested a new database password.",
            Level.WARNING,
            resource=f"database {database.name}",
        ),
    )
    return Outcome(True, f"{project.name}: password rotation started.")


def find_rotation_refusal(project: Project, *, with_adopted: bool) -> Refusal | None:
    """Return why a request would be refused, as the rows are now; None if it would be accepted."""
    refusal = find_refusal(Request.ROTATE_PASSWORD, project)
    if refusal or project.database is None:
        return refusal
    return _find_adopted_refusal(project.database, with_adopted=with_adopted)


def _find_adopted_refusal(database: DatabaseCluster, *, with_adopted: bool) -> Refusal | None:
    if database.origin != Origin.ADOPTED or with_adopted or database.rotation_requested_at is not None:
        return None
    return Refusal(
        "ConfirmationNeeded",
        f"The database {database.name} was adopted, and a new password locks out everybody else who uses it. Confirm "
        "that on the project's page, or with --with-adopted.",
    )
