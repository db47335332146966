"""The list of projects, which follows them as they change."""

import hashlib

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from projects.access.permissions import may_with_any_project
from projects.domain.permissions import may
from projects.domain.states import Phase
from projects.models import Project
from projects.pages.buttons import available_buttons
from projects.pages.guards import staff_page
from projects.pages.layout import PanelRequest, query_string, render_page, wants_fragment
from projects.pages.panel_health import panel_warnings
from projects.pages.refresh import page_version, refresh_interval, with_last_event

ROWS_A_PAGE = 25
# The value of `?phase=` for all projects in progress, whatever their phase.
UNSETTLED = "unsettled"


@require_GET
@staff_page("view_project")
def project_list(request: PanelRequest) -> HttpResponse:
    """The projects that the user can see, searched and filtered. A fragment answers 204 while nothing has changed since
    the version `?seen=`."""
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
    rows = [(project, available_buttons(project, request.user)) for project in page]
    warnings = panel_warnings()
    versions = "".join(page_version(project) for project, _ in rows)
    version = hashlib.sha256(f"{versions}{counts}{page.number}{warnings}".encode()).hexdigest()[:16]
    if wants_fragment(request) and request.GET.get("seen") == version:
        return HttpResponse(status=204)
    filters = {"q": query, "phase": phase}
    context = {
        "title": "Live view",
        "page": page,
        "rows": rows,
        "query": query,
        "phase": phase,
        "is_unsettled": phase == UNSETTLED,
        "chips": [
            (key, label, count, query_string({**filters, "phase": key})) for key, label, count in _phase_chips(counts)
        ],
        "page_query": query_string(filters),
        "refresh_url": query_string({**filters, "page": page.number, "seen": version}),
        "refresh_interval": refresh_interval(page),
        "has_any": bool(counts),
        "sees_all": may(request.user, "view_project"),
        "may_add": may(request.user, "add_project"),
        "may_act": any(may_with_any_project(request.user, f"{verb}_project") for verb in ("provision", "delete")),
        "panel_warnings": warnings,
        "now": timezone.now(),
    }
    if wants_fragment(request):
        return render(request, "projects/_list.html", {**context, "is_refresh": True})
    return render_page(request, "projects/list.html", context)


def _phase_chips(counts: dict[str, int]) -> list[tuple[str, str, int]]:
    """Return the filters above the list: (value of `?phase=`, label, number of projects)."""
    present = sum(count for phase, count in counts.items() if phase != Phase.DELETED)
    in_progress = sum(counts.get(phase, 0) for phase in Phase.in_progress())
    return [
        ("", "All except deleted" if counts.get(Phase.DELETED) else "All", present),
        (UNSETTLED, "In progress", in_progress),
        *((phase, str(label), counts.get(phase, 0)) for phase, label in Phase.choices),
    ]
