"""Requests about a Secret whose password replaced a proved one: write the proved one back, or use the Secret's."""

from datetime import datetime

from projects.domain.request_policy import Request
from projects.domain.states import Level, ReplacementChoice
from projects.models import DatabaseCluster, Project
from projects.services.intent import RequestEvent, project_request, save_change
from projects.services.outcome import Outcome


@project_request(Request.RESTORE_SECRET)
def request_restore_secret(project: Project, now: datetime, *, actor: str) -> Outcome:
    """Request that the captured password, which was proved, is written back to the database's Secret."""
    asked = "requested that the verified password is written back to the Secret"
    return _save_choice(project, now, ReplacementChoice.RESTORE, "SecretRestoreRequested", asked, actor=actor)


@project_request(Request.USE_SECRET)
def request_use_secret(project: Project, now: datetime, *, actor: str) -> Outcome:
    """Request that the password in the database's Secret is used although it is not verified. The sandbox restarts with
    it. A pass refuses that if the server does not accept the password."""
    asked = "requested that the unverified password in the Secret is used"
    return _save_choice(project, now, ReplacementChoice.USE, "SecretUseRequested", asked, actor=actor)


def _save_choice(
    project: Project, now: datetime, choice: ReplacementChoice, reason: str, asked: str, *, actor: str
) -> Outcome:
    database = project.databases.get(retired_at=None)
    DatabaseCluster.objects.filter(pk=database.pk).update(replacement_choice=choice)
    event = RequestEvent(reason, f"{actor} {asked}.", Level.WARNING, resource=f"database {database.name}")
    save_change(project, f"{actor} {asked}.", now, actor=actor, event=event)
    return Outcome(True, f"{project.name}: {choice.label.lower()} started.")
