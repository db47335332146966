"""The HTMX pages: they read rows, and change things only through services. Page and refresh share one fragment."""

import hashlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event
from django_htmx.middleware import HtmxDetails

from projects import display, ending, password_rotation, permissions, reauthentication, services
from projects.connection import Connection
from projects.fields import UndecryptableValueError
from projects.forms import AddProjectForm, RevealForm
from projects.models import Event, Project
from projects.possible import Request, explain_refusal
from projects.progress import time_to_run_s
from projects.services import Outcome, RefusedRequestError
from projects.shell import shell, strict_policy
from projects.states import CredentialsSource, DesiredState, Phase

ROWS_A_PAGE = 25
EVENTS_SHOWN = 50
REVEALED_FOR_S = 60
# The filter of the list for everything under way, whichever of the phases it is in.
UNSETTLED = "unsettled"


class PanelRequest(HttpRequest):
    """A request as the middleware leaves it."""

    htmx: HtmxDetails


View = Callable[..., HttpResponse]


def staff_page(codename: str) -> Callable[[View], View]:
    """Let in staff who may do `projects.<codename>` with the project of the address; without one in the address, those
    who may do it with any. The anonymous log in first, others get a 403, or a 404 for a project that they don't see.

    A fragment's request can't follow a redirect (the log-in page would land inside the page): htmx is told to go there.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: PanelRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            user = request.user
            if not user.is_authenticated:
                if request.htmx:
                    back = request.htmx.current_url_abs_path or reverse("projects:list")
                    return HttpResponseClientRedirect(redirect_to_login(back).url)
                return redirect_to_login(
                    request.get_full_path() if request.method == "GET" else reverse("projects:list")
                )
            if not permissions.is_staff(user):
                raise PermissionDenied("Your account is not marked as staff. Ask an administrator to do that.")
            if "pk" in kwargs:
                permissions.require(user, codename, kwargs["pk"])
            elif codename not in permissions.OWNERS_MAY and not permissions.may(user, codename):
                raise PermissionDenied(permissions.explain_denied(codename))
            response = view(request, *args, **kwargs)
            # The same address answers with a page or a fragment.
            patch_vary_headers(response, ("HX-Request",))
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return strict_policy(guarded)

    return decorate


def _page(request: PanelRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page inside the admin's shell: its sidebar, colours and messages."""
    return render(request, template, {**shell(request), **context})


def _wants_fragment(request: PanelRequest) -> bool:
    return bool(request.htmx) and not request.htmx.history_restore_request


# --- The list --------------------------------------------------------------------------------------------------


def with_last_event(projects: QuerySet[Project]) -> QuerySet[Project]:
    """Annotate each project with the id of its latest event, as `display.version_of` expects."""
    latest = Event.objects.filter(project=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    return projects.annotate(last_event_id=Subquery(latest))


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
    if _wants_fragment(request) and request.GET.get("seen") == version:
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
        "chips": [(key, label, count, _query({**filters, "phase": key})) for key, label, count in chips],
        "page_query": _query(filters),
        "refresh_url": _query({**filters, "page": page.number, "seen": version}),
        "refresh_every": display.refresh_every(page),
        "has_any": bool(counts),
        "sees_all": permissions.may(request.user, "view_project"),
        "may_add": permissions.may(request.user, "add_project"),
        "may_act": any(permissions.may_with_some(request.user, f"{act}_project") for act in ("provision", "delete")),
        "panel_warnings": warnings,
        "now": timezone.now(),
    }
    if _wants_fragment(request):
        return render(request, "projects/_list.html", {**context, "is_refresh": True})
    return _page(request, "projects/list.html", context)


def _query(values: Mapping[str, object]) -> str:
    return "?" + urlencode({key: value for key, value in values.items() if value})


# --- One project -----------------------------------------------------------------------------------------------


def get_shown_project(pk: int) -> Project:
    """Return the project with everything its page shows. Raises Http404."""
    return get_object_or_404(with_last_event(Project.objects.with_resources()), pk=pk)


def project_context(request: HttpRequest, project: Project) -> dict[str, Any]:
    """Return what the fragments of a project's page need, in the own page and in the admin alike."""
    events = list(project.events.all()[: EVENTS_SHOWN + 1])
    captured = _captured_mark(project)
    refresh_url = reverse("projects:status", args=[project.pk])
    warnings = display.panel_warnings()
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
        "refresh_url": f"{refresh_url}{_query({'seen': display.version_of(project, warnings), 'captured': captured})}",
        "may_reveal": permissions.may(request.user, "reveal_credentials", project),
        "may_edit": permissions.may(request.user, "change_project", project),
        # The card is not fetched again when the project comes to rest; the link's page says where it can't be done.
        "may_rotate": permissions.may(request.user, "provision_project", project)
        and project.desired_state == DesiredState.RUNNING,
        "reveal_form": RevealForm(asks_password=_asks_password(request)),
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
    return _page(
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


@require_http_methods(["GET", "POST"])
@sensitive_post_parameters("password")
@staff_page("view_project")
def project_credentials(request: PanelRequest, pk: int) -> HttpResponse:
    """The credentials, masked; revealed to a POST that says why, by someone who may, and on the record."""
    project = get_shown_project(pk)
    context: dict[str, Any] = {}
    if request.method == "POST":
        if not permissions.may(request.user, "reveal_credentials", project):
            raise PermissionDenied(permissions.explain_denied("reveal_credentials"))
        if not reauthentication.is_recent(request) and not reauthentication.has_password(request):
            return _log_in_again(request, project)
        context = _reveal(request, project)
        project = get_shown_project(pk)
    context = {**project_context(request, project), **context}
    if _wants_fragment(request):
        response = render(request, "projects/_credentials.html", context)
        if "connection" in context:
            trigger_client_event(response, "projects-changed")
    else:
        response = _page(request, "projects/detail.html", {**context, "title": f"Project {project.name}"})
    response.headers["Cache-Control"] = "no-store"
    return response


def _asks_password(request: HttpRequest) -> bool:
    return not reauthentication.is_recent(request) and reauthentication.has_password(request)


def _log_in_again(request: PanelRequest, project: Project) -> HttpResponse:
    """Send someone without a password of their own through the log-in, and back to the project."""
    logout(request)
    log_in = redirect_to_login(project.get_absolute_url())
    return HttpResponseClientRedirect(log_in.url) if request.htmx else log_in


@sensitive_variables("form")
def _reveal(request: PanelRequest, project: Project) -> dict[str, Any]:
    """Return the context that shows the credentials, or the sentence that says why they can't be shown."""
    form = RevealForm(request.POST, asks_password=_asks_password(request))
    if not form.is_valid():
        return {"reveal_form": form}
    if "password" in form.fields and not reauthentication.confirm(request, form.cleaned_data["password"]):
        form.add_error("password", "This is not your password. It was counted as a failed log-in.")
        return {"reveal_form": form}
    try:
        connection: Connection = services.reveal_credentials(
            project, actor=request.user.get_username(), reason=form.cleaned_data["reason"]
        )
    except (RefusedRequestError, UndecryptableValueError) as error:
        form.add_error("reason", str(error))
        return {"reveal_form": form}
    return {"connection": connection, "revealed_for_s": REVEALED_FOR_S}


# --- Requests --------------------------------------------------------------------------------------------------


def _answer(request: PanelRequest, project: Project, outcome: Outcome) -> HttpResponse:
    """Say what became of a request: as a notice beside the page that stays, or with the project's page."""
    if request.htmx:
        response = render(request, "projects/_notice.html", {"outcome": outcome})
        return trigger_client_event(response, "projects-changed")
    level = messages.SUCCESS if outcome.accepted else messages.WARNING
    messages.add_message(request, level, outcome.message)
    return redirect(project)


@require_POST
@staff_page("provision_project")
def provision(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _answer(request, project, services.request_provision(project, **permissions.who_asks(request)))


@require_POST
@staff_page("provision_project")
def retry(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _answer(request, project, services.request_retry(project, **permissions.who_asks(request)))


@require_POST
@staff_page("provision_project")
def cancel(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _answer(request, project, ending.request_cancel(project, actor=request.user.get_username()))


@require_http_methods(["GET", "POST"])
@staff_page("provision_project")
def rotate_password(request: PanelRequest, pk: int) -> HttpResponse:
    """GET says what a new password of the database means, or why there can be none now; POST asks for it."""
    project = get_shown_project(pk)
    if request.method == "POST":
        actor, is_confirmed = request.user.get_username(), request.POST.get("with_adopted") == "yes"
        outcome = password_rotation.request_password_rotation(project, actor=actor, with_adopted=is_confirmed)
        project = get_shown_project(pk)
        if outcome.accepted or is_confirmed or not display.is_adopted(project.database):
            return _answer(request, project, outcome)
    context = {
        "title": f"Change the password of {project.name}",
        "project": project,
        "refusal": password_rotation.explain_no_rotation(project),
        "is_adopted": display.is_adopted(project.database),
        "is_unconfirmed": request.method == "POST",
    }
    return _page(request, "projects/rotate_password.html", context)


@require_http_methods(["GET", "POST"])
@staff_page("delete_project")
def forget(request: PanelRequest, pk: int) -> HttpResponse:
    """GET says what would be left behind, or why the project can't be forgotten; POST forgets it."""
    project = get_shown_project(pk)
    if request.method == "POST" and request.POST.get("confirmed") == "yes":
        outcome = ending.request_forget(project, actor=request.user.get_username())
        return _answer(request, project, outcome)
    context = {
        "title": f"Forget {project.name}",
        "project": project,
        "refusal": explain_refusal(Request.FORGET, project),
        "left": ending.list_left(project),
        "is_unconfirmed": request.method == "POST",
    }
    return _page(request, "projects/forget.html", context)


@require_http_methods(["GET", "POST"])
@staff_page("delete_project")
def delete(request: PanelRequest, pk: int) -> HttpResponse:
    """GET says what would be deleted and what kept; POST asks for it."""
    project = get_shown_project(pk)
    if request.method == "POST":
        actor, delete_adopted = request.user.get_username(), permissions.asks_for_adopted(request)
        return _answer(request, project, services.request_delete(project, actor=actor, delete_adopted=delete_adopted))
    context = {
        "title": f"Delete {project.name}",
        "project": project,
        "refusal": explain_refusal(Request.DELETE, project),
        "deletions": [(project, display.deletion_summary(project, request.user))],
        "offers_adopted": display.offers_adopted(project, request.user),
    }
    return _page(request, "projects/delete.html", context)


@require_http_methods(["GET", "POST"])
@staff_page("add_project")
def add(request: PanelRequest) -> HttpResponse:
    """Register a project; whoever adds it owns it."""
    form = AddProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = services.add_project(actor=request.user.get_username(), owner=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None if "name" not in error.message_dict else "name", error.messages)
        else:
            messages.success(request, f"{project.name} was added. Press Provision to give it a database and a sandbox.")
            return redirect(project)
    return _page(request, "projects/add.html", {"title": "Add project", "form": form})
