"""The banner about the panel's own processes, as a fragment that every page refreshes."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from projects.pages.guards import staff_page
from projects.pages.layout import PanelRequest
from projects.pages.panel_health import panel_warnings, warnings_version


@require_GET
@staff_page("view_project")
def warnings(request: PanelRequest) -> HttpResponse:
    """Answers 204 while the banner's version is still `?seen=`."""
    found = panel_warnings()
    if request.GET.get("seen") == warnings_version(found):
        return HttpResponse(status=204)
    return render(request, "projects/_warnings.html", {"panel_warnings": found})
