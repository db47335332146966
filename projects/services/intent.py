"""How an intent is stored: the wanted state, and the task that carries it out."""

from collections.abc import Mapping
from datetime import datetime

from django.db.models import F

from projects.domain.states import DesiredState, Phase, Reason
from projects.models import Project
from projects.services.queue import enqueue_pass


def save_intent(
    project: Project,
    desired: DesiredState,
    reason: Reason,
    message: str,
    now: datetime,
    *,
    phase: Phase = Phase.WAITING,
    **fields: object,
) -> None:
    """Write an intent and put the pass in the queue; the caller holds the transaction and records the event."""
    values: Mapping[str, object] = {
        "desired_state": desired,
        "phase": phase,
        "reason": reason,
        "message": message,
        "wanted_generation": F("wanted_generation") + 1,
        "asked_generation": F("wanted_generation") + 1,
        "failures": 0,
        "next_pass_at": now,
        **fields,
    }
    Project.objects.filter(pk=project.pk).update(**values)
    enqueue_pass(project.pk, now=now)
    project.refresh_from_db()
