"""A project as its page and the admin's form show it: the row with its resources, and the context of the fragments."""

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from projects.access import reauthentication
from projects.domain.permissions import may
from projects.domain.progress import time_to_run_s
from projects.domain.states import CredentialsSource, DesiredState
from projects.models import Project
from projects.pages import presentation
from projects.pages.buttons import available_buttons, credential_buttons
from projects.pages.forms import RevealForm
from projects.pages.layout import query_string
from projects.pages.panel_health import panel_warnings
from projects.pages.refresh import page_version, refresh_interval, with_last_event

EVENTS_SHOWN = 50


def get_project(pk: int) -> Project:
    """Return the project with its live resources and the id of its latest event. Raises Http404."""
    return get_object_or_404(with_last_event(Project.objects.with_resources()), pk=pk)


def project_context(request: HttpRequest, project: Project) -> dict[str, Any]:
    """Return the context of the status, credentials and timeline fragments."""
    events = list(project.events.all()[: EVENTS_SHOWN + 1])
    captured = captured_mark(project)
    warnings = panel_warnings()
    version = page_version(project, warnings)
    refresh_url = reverse("projects:status", args=[project.pk]) + query_string({"seen": version, "captured": captured})
    return {
        "project": project,
        "database": project.database,
        "sandbox": project.sandbox,
        "sandbox_urls": presentation.linkable_urls(project.sandbox),
        "missing_database": "" if project.database else presentation.explain_missing_database(project),
        "missing_sandbox": "" if project.sandbox else presentation.explain_missing_sandbox(project),
        "uses_default": bool(project.sandbox and project.sandbox.credentials == CredentialsSource.DEFAULT),
        "buttons": available_buttons(project, request.user),
        "credential_buttons": credential_buttons(project, request.user),
        "next_action": presentation.next_action(project, request.user),
        "wait": presentation.current_wait(project),
        "step_lines": presentation.step_lines(project),
        "total_s": time_to_run_s(project),
        "events": [(event, presentation.event_level(event)) for event in events[:EVENTS_SHOWN]],
        "has_more_events": len(events) > EVENTS_SHOWN,
        "refresh_interval": refresh_interval([project]),
        "refresh_url": refresh_url,
        "may_reveal": may(request.user, "reveal_credentials", project),
        "may_edit": may(request.user, "change_project", project),
        # Not limited to running projects: the card is not fetched again when the project becomes ready. The page that
        # the link opens explains a refusal.
        "may_rotate": may(request.user, "provision_project", project) and project.desired_state == DesiredState.RUNNING,
        "reveal_form": RevealForm(asks_password=reauthentication.needs_password(request)),
        "needs_log_in": reauthentication.needs_log_in(request),
        "panel_warnings": warnings,
        "now": timezone.now(),
    }


def captured_mark(project: Project) -> str:
    """Return a mark that changes when other credentials are captured: the credentials card is fetched again then."""
    database = project.database
    return f"{database.pk}-{database.captured_at.timestamp():.0f}" if database and database.captured_at else "none"
