"""The request to prove a database's captured credentials again, by a connection."""

from datetime import datetime

from django.conf import settings

from projects.domain.request_policy import Refusal, Request, find_refusal
from projects.models import DatabaseCluster, Project
from projects.services.intent import RequestEvent, project_request, save_change
from projects.services.outcome import Outcome

_OFF = Refusal(
    "VerificationOff",
    "{name}: VERIFY_CONNECTIONS is false, so the panel does not connect to databases. Set it to true to verify "
    "credentials.",
)


@project_request(Request.VERIFY)
def request_verification(project: Project, now: datetime, *, actor: str) -> Outcome:
    """Request a connection with the captured credentials; the next pass makes it and records the outcome."""
    refusal = _find_off(project)
    if refusal:
        return Outcome.refused(refusal)
    database = project.databases.get(retired_at=None)
    DatabaseCluster.objects.filter(pk=database.pk).update(verification_requested_at=now)
    asked = f"{actor} requested a verification of the credentials."
    event = RequestEvent("VerificationRequested", asked, resource=f"database {database.name}")
    save_change(project, asked, now, actor=actor, event=event)
    return Outcome(True, f"{project.name}: verification started.")


def find_verification_refusal(project: Project) -> Refusal | None:
    """Return why a request would be refused, as the rows are now; None if it would be accepted."""
    return find_refusal(Request.VERIFY, project) or _find_off(project)


def _find_off(project: Project) -> Refusal | None:
    if settings.VERIFY_CONNECTIONS:
        return None
    return Refusal(_OFF.reason, _OFF.message.format(name=project.name))
