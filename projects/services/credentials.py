"""Revealing credentials: recorded in the timeline and in the audit log."""

from projects.confidential.redaction import one_line
from projects.domain.connection import Connection
from projects.domain.states import Level
from projects.models import Project
from projects.services.events import record_event
from projects.services.outcome import RefusedRequestError


def reveal_credentials(project: Project, *, actor: str, reason: str) -> Connection:
    """Return the captured credentials, and record the user and the reason.

    Raises RefusedRequestError if there are none (default credentials are never shown as the project's own), and
    UndecryptableValueError if their key is lost.
    """
    reason = one_line(reason, 200)
    if not reason:
        raise RefusedRequestError("Enter a reason. It is recorded in the project's events.")
    database = project.database
    connection = database.connection if database else None
    if database is None or connection is None:
        raise RefusedRequestError(
            f"{project.name} has no captured credentials yet: {project.message or 'it is not provisioned.'}"
        )
    record_event(
        project,
        actor=actor,
        resource=f"database {database.name}",
        level=Level.WARNING,
        reason="CredentialsRevealed",
        message=f"{actor} revealed the credentials: {reason}",
    )
    return connection
