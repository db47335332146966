"""The request to cancel a provisioning before the project has run."""

from datetime import datetime

from projects.domain.request_policy import Request
from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import Project
from projects.services.intent import RequestEvent, project_request, repeat_request, save_intent
from projects.services.outcome import Outcome
from projects.services.provisioning import removal_deadline


@project_request(Request.CANCEL)
def request_cancel(project: Project, now: datetime, *, actor: str) -> Outcome:
    """Request that everything that was created is deleted, an adopted Cluster is released, and the project is New."""
    if project.is_cancelling:
        return repeat_request(project, f"{project.name} is already being cancelled: {project.message}", now)
    save_intent(
        project,
        DesiredState.REGISTERED,
        Reason.CANCELLING,
        now,
        actor=actor,
        event=RequestEvent(
            Reason.CANCELLING,
            f"{actor} cancelled the provisioning. What was created is being deleted.",
            Level.WARNING,
        ),
        phase=Phase.DELETING,
        delete_adopted=False,
        deletion_deadline=removal_deadline(now),
    )
    return Outcome(True, f"{project.name}: cancellation started.")
