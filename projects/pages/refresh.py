"""When a page refreshes, and how it finds out that nothing changed."""

import hashlib
from collections.abc import Iterable

from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from projects.models import Event, Project
from projects.pages.presentation import is_progressing

# Scheduling changes with every pass and appears on no page.
_FIELDS_NOT_SHOWN = frozenset(
    {"queued_at", "lease_token", "lease_until", "next_pass_at", "failures", "password", "environment_digest", "uid"}
)


def page_version(project: Project, *others: object) -> str:
    """Return a digest of everything that the project's page shows, `others` included: equal digests, equal pages.

    Expects the annotation `last_event_id` of `with_last_event`, so that a list needs no query for each row.
    """
    is_on_time = is_progressing(project, timezone.now())
    parts: list[str] = [str(getattr(project, "last_event_id", "")), str(is_on_time), repr(others)]
    rows: tuple[models.Model | None, ...] = (project, project.database, project.sandbox)
    for row in rows:
        if row is None:
            parts.append("-")
            continue
        parts += [
            f"{field.attname}={getattr(row, field.attname)!r}"
            for field in row._meta.concrete_fields
            if field.name not in _FIELDS_NOT_SHOWN
        ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def with_last_event(projects: QuerySet[Project]) -> QuerySet[Project]:
    """Annotate each project with the id of its latest event, for `page_version`."""
    latest = Event.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    return projects.annotate(last_event_id=Subquery(latest))


def refresh_interval(projects: Iterable[Project]) -> str:
    """Return the polling interval in htmx's notation: short while a project is in progress, long once all are settled.

    Settled projects are polled too: other people act on them, and databases fail without a request.
    """
    return "15s" if all(project.is_carried_out for project in projects) else "1500ms"
