"""The views behind the buttons: each makes a request through a service and shows its outcome."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from projects.access.permissions import requester_of, wants_adopted_deleted
from projects.domain.request_policy import Request, find_refusal
from projects.models import Project
from projects.pages.context import get_project
from projects.pages.forms import AddProjectForm
from projects.pages.guards import staff_page
from projects.pages.layout import PanelRequest, render_page
from projects.pages.presentation import can_delete_adopted, deletion_effects, is_adopted
from projects.services.cancellation import request_cancel
from projects.services.forget import list_left, request_forget
from projects.services.outcome import Outcome
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import add_project, request_delete, request_provision, request_retry
from projects.services.replaced_secret import request_restore_secret, request_use_secret
from projects.services.verification import request_verification


@require_http_methods(["GET", "POST"])
@staff_page("add_project")
def add(request: PanelRequest) -> HttpResponse:
    """The form that adds a project. The user becomes its owner."""
    form = AddProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = add_project(actor=request.user.get_username(), owner=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None if "name" not in error.message_dict else "name", error.messages)
        else:
            messages.success(request, f"{project.name} added. Provision it to create its database and sandbox.")
            return redirect(project)
    return render_page(request, "projects/add.html", {"title": "Add project", "form": form})


@require_POST
@staff_page("provision_project")
def provision(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _respond(request, project, request_provision(project, **requester_of(request)))


@require_POST
@staff_page("provision_project")
def retry(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _respond(request, project, request_retry(project, **requester_of(request)))


@require_POST
@staff_page("provision_project")
def cancel(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _respond(request, project, request_cancel(project, actor=request.user.get_username()))


@require_http_methods(["GET", "POST"])
@staff_page("provision_project")
def rotate_password(request: PanelRequest, pk: int) -> HttpResponse:
    """GET asks for confirmation, or explains the refusal; POST requests the rotation."""
    project = get_project(pk)
    if request.method == "POST":
        actor, is_confirmed = request.user.get_username(), request.POST.get("with_adopted") == "yes"
        outcome = request_password_rotation(project, actor=actor, with_adopted=is_confirmed)
        project = get_project(pk)
        if outcome.accepted or is_confirmed or not is_adopted(project.database):
            return _respond(request, project, outcome)
    context = {
        "title": f"Rotate the password of {project.name}",
        "project": project,
        "refusal": find_refusal(Request.ROTATE_PASSWORD, project),
        "is_adopted": is_adopted(project.database),
        "is_unconfirmed": request.method == "POST",
    }
    return render_page(request, "projects/rotate_password.html", context)


@require_POST
@staff_page("provision_project")
def verify(request: PanelRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    return _respond(request, project, request_verification(project, actor=request.user.get_username()))


@require_http_methods(["GET", "POST"])
@staff_page("provision_project")
def restore_secret(request: PanelRequest, pk: int) -> HttpResponse:
    return _choose_password(request, pk, Request.RESTORE_SECRET)


@require_http_methods(["GET", "POST"])
@staff_page("provision_project")
def use_secret(request: PanelRequest, pk: int) -> HttpResponse:
    return _choose_password(request, pk, Request.USE_SECRET)


def _choose_password(request: PanelRequest, pk: int, choice: Request) -> HttpResponse:
    """GET asks for confirmation, or explains the refusal; POST makes the request."""
    project, restores = get_project(pk), choice is Request.RESTORE_SECRET
    if request.method == "POST":
        ask = request_restore_secret if restores else request_use_secret
        return _respond(request, project, ask(project, actor=request.user.get_username()))
    context = {
        "title": f"Secret of {project.name}",
        "project": project,
        "refusal": find_refusal(choice, project),
        "restores": restores,
    }
    return render_page(request, "projects/replaced_secret.html", context)


@require_http_methods(["GET", "POST"])
@staff_page("delete_project")
def forget(request: PanelRequest, pk: int) -> HttpResponse:
    """GET lists what would remain in the cluster, or explains the refusal; a confirmed POST forgets the project."""
    project = get_project(pk)
    if request.method == "POST" and request.POST.get("confirmed") == "yes":
        return _respond(request, project, request_forget(project, actor=request.user.get_username()))
    context = {
        "title": f"Forget {project.name}",
        "project": project,
        "refusal": find_refusal(Request.FORGET, project),
        "left": list_left(project),
        "is_unconfirmed": request.method == "POST",
    }
    return render_page(request, "projects/forget.html", context)


@require_http_methods(["GET", "POST"])
@staff_page("delete_project")
def delete(request: PanelRequest, pk: int) -> HttpResponse:
    """GET lists what would be deleted and kept; POST requests the deletion."""
    project = get_project(pk)
    if request.method == "POST":
        actor, delete_adopted = request.user.get_username(), wants_adopted_deleted(request)
        return _respond(request, project, request_delete(project, actor=actor, delete_adopted=delete_adopted))
    context = {
        "title": f"Delete {project.name}",
        "project": project,
        "refusal": find_refusal(Request.DELETE, project),
        "deletions": [(project, deletion_effects(project, request.user))],
        "offers_adopted": can_delete_adopted(project, request.user),
    }
    return render_page(request, "projects/delete.html", context)


def _respond(request: PanelRequest, project: Project, outcome: Outcome) -> HttpResponse:
    """Show the outcome of a request: htmx gets a notice, other browsers are redirected to the project's page."""
    if request.htmx:
        response = render(request, "projects/_notice.html", {"outcome": outcome})
        return trigger_client_event(response, "projects-changed")
    level = messages.SUCCESS if outcome.accepted else messages.WARNING
    messages.add_message(request, level, outcome.message)
    return redirect(project)
