"""A project's page, and its status fragment."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET
from django_htmx.http import trigger_client_event

from projects.pages.context import captured_mark, get_project, project_context
from projects.pages.guards import staff_page
from projects.pages.layout import PanelRequest, render_page
from projects.pages.panel_health import panel_warnings
from projects.pages.refresh import page_version


@require_GET
@staff_page("view_project")
def project_detail(request: PanelRequest, pk: int) -> HttpResponse:
    """The whole page: status, credentials, events."""
    project = get_project(pk)
    context = {**project_context(request, project), "title": f"Project {project.name}"}
    return render_page(request, "projects/detail.html", context)


@require_GET
@staff_page("view_project")
def project_status(request: PanelRequest, pk: int) -> HttpResponse:
    """The fragment that refreshes. Answers 204 while the page's version is still `?seen=`.

    The credentials card is a separate fragment, so that a refresh neither hides revealed credentials nor discards a
    reason that is being typed.
    """
    project = get_project(pk)
    if request.GET.get("seen") == page_version(project, panel_warnings()):
        return HttpResponse(status=204)
    context = project_context(request, project)
    context |= {"is_refresh": True, "in_admin": "in_admin" in request.GET}
    response = render(request, "projects/_status.html", context)
    if request.GET.get("captured", "none") != captured_mark(project):
        trigger_client_event(response, "credentials-captured")
    return response
