"""The list of projects."""

import hashlib

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from projects.access.permissions import may_with_any_project
from projects.domain import permissions
from projects.domain.states import Phase
from projects.models import Project
from projects.pages import presentation as display
from projects.pages.layout import PanelRequest, query_string, render_page, staff_page, wants_fragment
from projects.pages.presentation import with_last_event

ROWS_A_PAGE = 25
# The filter of the list for everything under way, whichever of the phases it is in.
UNSETTLED = "unsettled"


@require_GET
@staff_page("view_project")
def project_list(request: PanelRequest) -> HttpResponse:
    """All projects, searched and filtered. As a fragment it answers 204 while nothing changed since `seen`."""
    query = request.GET.get("q", "").replace("\0", "").strip()[:100]
    phase = request.GET.get("phase", "")
    if phase not in (*Phase.values, UNSETTLED):
        phase = ""
    found = Project.objects.visible_to(request.user).filter(
        Q(name__icontains=query) | Q(kubernetes_name__icontains=query) | Q(owner__username__icontains=query)
        if query
        else Q()
    )
    counts = dict(found.order_by().values_list("phase").annotate(Count("pk")))
    match phase:
        case "":
            shown = found.exclude(phase=Phase.DELETED)
        case _ if phase == UNSETTLED:
            shown = found.filter(phase__in=Phase.in_progress())
        case _:
            shown = found.filter(phase=phase)
    page = Paginator(with_last_event(shown.with_resources()), ROWS_A_PAGE).get_page(request.GET.get("page"))
    rows = [(project, display.available_actions(project, request.user)) for project in page]
    warnings = display.panel_warnings()
    versions = "".join(display.version_of(project) for project, _ in rows)
    version = hashlib.sha256(f"{versions}{counts}{page.number}{warnings}".encode()).hexdigest()[:16]
    if wants_fragment(request) and request.GET.get("seen") == version:
        return HttpResponse(status=204)
    filters = {"q": query, "phase": phase}
    everything = "All but deleted" if counts.get(Phase.DELETED) else "All"
    chips = [("", everything, sum(count for key, count in counts.items() if key != Phase.DELETED))]
    chips.append((UNSETTLED, "In progress", sum(counts.get(key, 0) for key in Phase.in_progress())))
    chips += [(key, str(label), counts.get(key, 0)) for key, label in Phase.choices]
    context = {
        "title": "Live view",
        "page": page,
        "rows": rows,
        "query": query,
        "phase": phase,
        "is_unsettled": phase == UNSETTLED,
        "chips": [(key, label, count, query_string({**filters, "phase": key})) for key, label, count in chips],
        "page_query": query_string(filters),
        "refresh_url": query_string({**filters, "page": page.number, "seen": version}),
        "refresh_every": display.refresh_every(page),
        "has_any": bool(counts),
        "sees_all": permissions.may(request.user, "view_project"),
        "may_add": permissions.may(request.user, "add_project"),
        "may_act": any(may_with_any_project(request.user, f"{act}_project") for act in ("provision", "delete")),
        "panel_warnings": warnings,
        "now": timezone.now(),
    }
    if wants_fragment(request):
        return render(request, "projects/_list.html", {**context, "is_refresh": True})
    return render_page(request, "projects/list.html", context)
