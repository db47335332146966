"""The overview: the admin's index page, with projects by phase and those that need attention."""

from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse

from projects.domain import permissions
from projects.domain.states import Phase
from projects.models import Event, Project
from projects.pages.list import UNSETTLED
from projects.pages.presentation import event_level

_ATTENTION_SHOWN = 6
_EVENTS_SHOWN = 8


def is_among_projects(request: HttpRequest) -> bool:
    """Whether the sidebar marks "Projects" as active: in the admin's list and in the live view."""
    return request.path.startswith((reverse("projects:list"), reverse("admin:projects_project_changelist")))


def add_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the overview's data to its context, limited to the projects that the user can see."""
    visible = Project.objects.visible_to(request.user)
    counts: dict[str, int] = dict(visible.order_by().values_list("phase").annotate(Count("pk")))
    present = visible.present().select_related("owner")
    failed = present.filter(phase=Phase.FAILED)
    attention = visible.needing_attention().select_related("owner").exclude(phase=Phase.FAILED)
    on_default = attention.on_default_database()
    events = permissions.visible(Event.objects.select_related("project"), request.user, owner="project__owner")
    list_url = reverse("projects:list")
    context |= {
        "tiles": [
            (label, count, color if count else "default", f"{list_url}{query}")
            for label, phases, color, query in (
                ("Running", (Phase.RUNNING,), "success", f"?phase={Phase.RUNNING}"),
                ("In progress", tuple(Phase.in_progress()), "info", f"?phase={UNSETTLED}"),
                ("Failed", (Phase.FAILED,), "danger", f"?phase={Phase.FAILED}"),
                ("Not provisioned", (Phase.NEW,), "default", f"?phase={Phase.NEW}"),
            )
            for count in (sum(counts.get(phase, 0) for phase in phases),)
        ],
        "failed": failed[:_ATTENTION_SHOWN],
        "failed_count": counts.get(Phase.FAILED, 0),
        "troubled": attention.exclude(pk__in=on_default.values("pk"))[:_ATTENTION_SHOWN],
        "on_default": on_default[:_ATTENTION_SHOWN],
        "recent_events": [(event, event_level(event)) for event in events[:_EVENTS_SHOWN]],
        "sees_all": permissions.may(request.user, "view_project"),
        "may_add": permissions.may(request.user, "add_project"),
    }
    return context
