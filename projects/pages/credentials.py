"""The credentials card: masked, or revealed after a recorded reason."""

from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from projects.access import reauthentication
from projects.access.permissions import explain_denied
from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.domain.connection import Connection
from projects.domain.permissions import may
from projects.models import Project
from projects.pages.context import get_project, project_context
from projects.pages.forms import RevealForm
from projects.pages.guards import staff_page
from projects.pages.layout import PanelRequest, render_page, wants_fragment
from projects.services.credentials import reveal_credentials
from projects.services.outcome import RefusedRequestError

REVEALED_FOR_S = 60


@require_http_methods(["GET", "POST"])
@sensitive_post_parameters("password")
@staff_page("view_project")
def project_credentials(request: PanelRequest, pk: int) -> HttpResponse:
    """GET shows the masked credentials; POST with a reason reveals them and records an event."""
    project = get_project(pk)
    context: dict[str, Any] = {}
    if request.method == "POST":
        if not may(request.user, "reveal_credentials", project):
            raise PermissionDenied(explain_denied("reveal_credentials"))
        if reauthentication.needs_log_in(request):
            return _redirect_to_log_in(request, project)
        context = _reveal(request, project)
        project = get_project(pk)
    context = {**project_context(request, project), **context}
    if wants_fragment(request):
        response = render(request, "projects/_credentials.html", context)
        if "connection" in context:
            trigger_client_event(response, "projects-changed")
    else:
        response = render_page(request, "projects/detail.html", {**context, "title": f"Project {project.name}"})
    response.headers["Cache-Control"] = "no-store"
    return response


def _redirect_to_log_in(request: PanelRequest, project: Project) -> HttpResponse:
    """Log the user out and send them to the log-in page, which leads back to the project."""
    logout(request)
    log_in = redirect_to_login(project.get_absolute_url())
    return HttpResponseClientRedirect(log_in.url) if request.htmx else log_in


@sensitive_variables("form")
def _reveal(request: PanelRequest, project: Project) -> dict[str, Any]:
    """Return the context with the credentials, or with a form whose errors explain the refusal."""
    form = RevealForm(request.POST, asks_password=reauthentication.needs_password(request))
    if not form.is_valid():
        return {"reveal_form": form}
    if "password" in form.fields and not reauthentication.confirm(request, form.cleaned_data["password"]):
        form.add_error("password", "Wrong password. This counts as a failed log-in.")
        return {"reveal_form": form}
    try:
        connection: Connection = reveal_credentials(
            project, actor=request.user.get_username(), reason=form.cleaned_data["reason"]
        )
    except (RefusedRequestError, UndecryptableValueError) as error:
        form.add_error("reason", str(error))
        return {"reveal_form": form}
    return {"connection": connection, "revealed_for_s": REVEALED_FOR_S}
