"""Permission checks that need rows or a request. The rules themselves are in `domain.permissions`."""

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from projects.domain.permissions import OWNERS_MAY, Person, is_staff, may, may_adopt, may_delete_adopted
from projects.models import Project

_ADMINISTRATORS_NAMED = 3
_ACTIONS = {
    "view_project": "view this project",
    "add_project": "add projects",
    "change_project": "edit this project",
    "provision_project": "provision this project",
    "delete_project": "delete this project",
    "reveal_credentials": "reveal database credentials",
}


def requester_of(request: HttpRequest) -> dict[str, Any]:
    """Return the `actor` of a provisioning request, and whether it `may_adopt` a Cluster."""
    return {"actor": request.user.get_username(), "may_adopt": may_adopt(request.user)}


def wants_adopted_deleted(request: HttpRequest) -> bool:
    """Whether a deletion form asks to delete adopted databases too. Raises PermissionDenied if the user can't."""
    is_selected = "delete_adopted" in request.POST
    if is_selected and not may_delete_adopted(request.user):
        raise PermissionDenied(
            "You don't have permission to delete adopted databases (needs: view_project and delete_project for all "
            "projects). Delete the project without this option: its database is then released and keeps its data."
        )
    return is_selected


def may_with_any_project(user: Person, codename: str) -> bool:
    """Whether the user has the permission for at least one project: bulk actions are offered then."""
    if may(user, codename):
        return True
    return codename in OWNERS_MAY and is_staff(user) and Project.objects.filter(owner=user.pk).exists()


def require_permission(user: Person, codename: str, pk: int) -> None:
    """Raise Http404 if the user can't see the project, PermissionDenied if they see it without `codename` for it."""
    if may(user, "view_project") and may(user, codename):
        return
    project = Project.objects.visible_to(user).filter(pk=pk).first()
    if project is None:
        raise Http404
    if not may(user, codename, project):
        raise PermissionDenied(explain_denied(codename))


def explain_denied(codename: str) -> str:
    """Return the message for a user without `projects.<codename>`: the action, the permission, and whom to ask."""
    superusers = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")[:_ADMINISTRATORS_NAMED]
    names = [superuser.get_username() for superuser in superusers]
    administrator = f"an administrator ({', '.join(names)})" if names else "an administrator"
    return f"You don't have permission to {_ACTIONS[codename]} (needs: {codename}). Ask {administrator} for it."
