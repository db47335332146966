"""Adding events to a project's timeline."""

from datetime import datetime

from django.utils import timezone

from projects.confidential.plain_text import plain
from projects.confidential.redaction import LOOKED_AT, one_line, redact
from projects.domain.states import Level
from projects.models import Event, Project


def record_event(
    project: Project,
    *,
    actor: str,
    reason: str,
    message: str,
    resource: str = "",
    level: Level = Level.INFO,
    at: datetime | None = None,
    by_panel: bool = False,
    unsaved: list[Event] | None = None,
) -> Event:
    """Add an event to a project's timeline; `by_panel` if a pass caused it. Text from people and clusters in it is made
    plain. With `unsaved` it is not stored but put there: the caller stores it with other rows."""
    spare = (actor, project.name)
    event = Event(
        project=project,
        at=at or timezone.now(),
        actor=plain(actor)[:150],
        by_panel=by_panel,
        resource=plain(resource)[:120],
        level=level,
        reason=reason,
        message=redact(one_line(message, LOOKED_AT, spare=spare), spare=spare),
    )
    if unsaved is None:
        event.save(force_insert=True)
    else:
        unsaved.append(event)
    return event
