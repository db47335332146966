"""Permissions that depend on rows or on a request. The rules are in `domain.permissions`."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from projects.domain.permissions import OWNERS_MAY, Person, is_staff, may, may_adopt, may_delete_adopted

_ADMINISTRATORS_NAMED = 3


def requester_of(request: HttpRequest) -> dict[str, Any]:
    """Return the keyword arguments of a request to provision: the actor, and whether the user may adopt."""
    return {"actor": request.user.get_username(), "may_adopt": may_adopt(request.user)}


def wants_adopted_deleted(request: HttpRequest) -> bool:
    """Whether the deletion form is ticked for adopted databases. Raises PermissionDenied if the user may not delete
    them."""
    is_ticked = "delete_adopted" in request.POST
    if is_ticked and not may_delete_adopted(request.user):
        raise PermissionDenied(
            "Deleting an adopted database takes the permissions to view and to delete all projects: to own one is not "
            "enough. Delete the project without it: the database is released, and stays with its data."
        )
    return is_ticked


def may_with_any_project(user: Person, codename: str) -> bool:
    """Whether the user may do this with at least one project, which decides if a bulk action is offered."""
    from projects.models import Project  # which asks this module itself

    if may(user, codename):
        return True
    return codename in OWNERS_MAY and is_staff(user) and Project.objects.filter(owner=user.pk).exists()


def require_permission(user: Person, codename: str, pk: int) -> None:
    """Return if the user may do this with the project. Raises Http404 if the user can't see it, else PermissionDenied
    with a message."""
    from projects.models import Project  # which asks this module itself

    if may(user, "view_project") and may(user, codename):
        return
    project = Project.objects.visible_to(user).filter(pk=pk).first()
    if project is None:
        raise Http404
    if not may(user, codename, project):
        raise PermissionDenied(explain_denied(codename))


def explain_denied(codename: str) -> str:
    """Return the message for a user without the permission `projects.<codename>`: its name, and who can grant it."""
    permission = Permission.objects.filter(content_type__app_label="projects", codename=codename).first()
    called = f"the permission “{permission.name}”" if permission else "a permission"
    granting = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")[:_ADMINISTRATORS_NAMED]
    names = [administrator.get_username() for administrator in granting]
    whom = f"an administrator ({', '.join(names)})" if names else "an administrator"
    return f"This page or button needs {called}, which your account lacks. Ask {whom} for it."
