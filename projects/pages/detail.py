"""A project's page, and the part of it that refreshes."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET
from django_htmx.http import trigger_client_event

from projects.access import reauthentication
from projects.domain import permissions
from projects.domain.progress import time_to_run_s
from projects.domain.states import CredentialsSource, DesiredState
from projects.models import Project
from projects.pages import presentation as display
from projects.pages.forms import RevealForm
from projects.pages.layout import PanelRequest, query_string, render_page, staff_page
from projects.pages.presentation import with_last_event

EVENTS_SHOWN = 50


def get_shown_project(pk: int) -> Project:
    """Return the project with everything its page shows. Raises Http404."""
    return get_object_or_404(with_last_event(Project.objects.with_resources()), pk=pk)


def project_context(request: HttpRequest, project: Project) -> dict[str, Any]:
    """Return what the fragments of a project's page need, in the own page and in the admin alike."""
    events = list(project.events.all()[: EVENTS_SHOWN + 1])
    captured = _captured_mark(project)
    refresh_url = reverse("projects:status", args=[project.pk])
    warnings = display.panel_warnings()
    version = display.version_of(project, warnings)
    return {
        "project": project,
        "database": project.database,
        "sandbox": project.sandbox,
        "sandbox_urls": display.linkable_urls(project.sandbox),
        "uses_default": bool(project.sandbox and project.sandbox.credentials == CredentialsSource.DEFAULT),
        "actions": display.available_actions(project, request.user),
        "next_move": display.next_move(project, request.user),
        "wait": display.current_wait(project),
        "step_lines": display.step_lines(project),
        "total_s": time_to_run_s(project),
        "events": [(event, display.shown_level(event)) for event in events[:EVENTS_SHOWN]],
        "has_more_events": len(events) > EVENTS_SHOWN,
        "refresh_every": display.refresh_every([project]),
        "refresh_url": refresh_url + query_string({"seen": version, "captured": captured}),
        "may_reveal": permissions.may(request.user, "reveal_credentials", project),
        "may_edit": permissions.may(request.user, "change_project", project),
        # The card is not fetched again when the project comes to rest; the link's page says where it can't be done.
        "may_rotate": permissions.may(request.user, "provision_project", project)
        and project.desired_state == DesiredState.RUNNING,
        "reveal_form": RevealForm(asks_password=asks_password(request)),
        "logs_in_again": not reauthentication.is_recent(request) and not reauthentication.has_password(request),
        "panel_warnings": warnings,
        "now": timezone.now(),
    }


def _captured_mark(project: Project) -> str:
    """Return what changes when other credentials are captured, so that the card is fetched again only then."""
    database = project.database
    return f"{database.pk}-{database.captured_at.timestamp():.0f}" if database and database.captured_at else "none"


@require_GET
@staff_page("view_project")
def project_detail(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_shown_project(pk)
    return render_page(
        request, "projects/detail.html", {**project_context(request, project), "title": f"Project {project.name}"}
    )


@require_GET
@staff_page("view_project")
def project_status(request: PanelRequest, pk: int) -> HttpResponse:
    """The part of the page that follows the project: 204 while nothing changed since `seen`.

    The credentials are a part of their own, so that a refresh never wipes what was revealed or a reason half typed.
    """
    project = get_shown_project(pk)
    if request.GET.get("seen") == display.version_of(project, display.panel_warnings()):
        return HttpResponse(status=204)
    context = project_context(request, project)
    context |= {"is_refresh": True, "in_admin": "in_admin" in request.GET}
    response = render(request, "projects/_status.html", context)
    if request.GET.get("captured", "none") != _captured_mark(project):
        trigger_client_event(response, "credentials-captured")
    return response


def asks_password(request: HttpRequest) -> bool:
    return not reauthentication.is_recent(request) and reauthentication.has_password(request)
