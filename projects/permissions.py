"""Who may do what: the one place that decides it for pages, fragments, the admin and its actions. docs/access.md has
the same in a table."""

from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest

if TYPE_CHECKING:
    from projects.models import Project

_Row = TypeVar("_Row", bound=Model)
Person = AbstractBaseUser | AnonymousUser

# What staff may do with a project because they own it. Not its password: who may see passwords is said one by one.
OWNERS_MAY = frozenset({"view_project", "change_project", "provision_project", "delete_project"})

_ADMINISTRATORS_NAMED = 3


def is_staff(user: Person) -> bool:
    """Whether the user may enter the panel at all."""
    person = cast("User", user)
    return person.is_active and person.is_staff


def may(user: Person, codename: str, project: "Project | None" = None) -> bool:
    """Whether the user has the permission `projects.<codename>`: for every project, or for this one, as its owner.

    Nobody acts on a project that they don't see.
    """
    has_permission = bool(cast("AnonymousUser", user).has_perm(f"projects.{codename}"))
    if project is None:
        return has_permission
    if owns(user, project):
        return has_permission or codename in OWNERS_MAY
    return has_permission and may(user, "view_project")


def may_adopt(user: Person) -> bool:
    """Whether the user may make a Cluster that the panel did not make a project's database. Nobody may as an owner: the
    Cluster is somebody else's until then."""
    return may(user, "view_project") and may(user, "provision_project")


def who_asks(request: HttpRequest) -> dict[str, Any]:
    """Return, for a request for a database, whose it is and whether a Cluster may be adopted on their word."""
    return {"actor": request.user.get_username(), "may_adopt": may_adopt(request.user)}


def may_delete_adopted(user: Person) -> bool:
    """Whether the user may delete what was adopted along with its project. Nobody may as an owner, for the same reason:
    who owns the project has it released."""
    return may(user, "view_project") and may(user, "delete_project")


def asks_for_adopted(request: HttpRequest) -> bool:
    """Whether the form of a deletion has the tick for adopted databases. Raises PermissionDenied, in a sentence, where
    it was sent by someone who may not delete them."""
    is_ticked = "delete_adopted" in request.POST
    if is_ticked and not may_delete_adopted(request.user):
        raise PermissionDenied(
            "Deleting an adopted database takes the permissions to view and to delete all projects: to own one is not "
            "enough. Delete the project without it: the database is released, and stays with its data."
        )
    return is_ticked


def visible(rows: QuerySet[_Row], user: Person, *, owner: str) -> QuerySet[_Row]:
    """Return those of the rows that the user sees: all with the permission to view projects, else those of the
    projects that they own. `owner` is the way from such a row to its project's owner."""
    if may(user, "view_project"):
        return rows
    return rows.filter(**{owner: user.pk}) if is_staff(user) else rows.none()


def owns(user: Person, project: "Project") -> bool:
    return is_staff(user) and project.owner_id is not None and project.owner_id == user.pk


def may_with_some(user: Person, codename: str) -> bool:
    """Whether there is a project with which the user may do this: what decides if a bulk action is offered."""
    from projects.models import Project  # which asks this module itself

    if may(user, codename):
        return True
    return codename in OWNERS_MAY and is_staff(user) and Project.objects.filter(owner=user.pk).exists()


def require(user: Person, codename: str, pk: int) -> None:
    """Let pass whoever may do this with the project. Raises Http404 where they don't see it, PermissionDenied, in a
    sentence, where they see it and may not."""
    from projects.models import Project  # which asks this module itself

    if may(user, "view_project") and may(user, codename):
        return
    project = Project.objects.visible_to(user).filter(pk=pk).first()
    if project is None:
        raise Http404
    if not may(user, codename, project):
        raise PermissionDenied(explain_denied(codename))


def explain_denied(codename: str) -> str:
    """Return a sentence for staff without the permission `projects.<codename>`: its name, and who can grant it."""
    permission = Permission.objects.filter(content_type__app_label="projects", codename=codename).first()
    called = f"the permission “{permission.name}”" if permission else "a permission"
    granting = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")[:_ADMINISTRATORS_NAMED]
    names = [administrator.get_username() for administrator in granting]
    whom = f"an administrator ({', '.join(names)})" if names else "an administrator"
    return f"This page or button needs {called}, which your account lacks. Ask {whom} for it."


# --- As the admin's sidebar asks ------------------------------------------------------------------------------


def may_enter(request: HttpRequest) -> bool:
    return is_staff(request.user)


def may_view_every_project(request: HttpRequest) -> bool:
    return is_staff(request.user) and may(request.user, "view_project")


def may_view_templates(request: HttpRequest) -> bool:
    return may(request.user, "view_sandboxtemplate")


def may_view_users(request: HttpRequest) -> bool:
    return request.user.has_perm("auth.view_user")


def may_view_groups(request: HttpRequest) -> bool:
    return request.user.has_perm("auth.view_group")


def may_view_audit(request: HttpRequest) -> bool:
    return request.user.has_perm("auditlog.view_logentry")


def may_view_second_factors(request: HttpRequest) -> bool:
    return settings.SECOND_FACTOR != "off" and request.user.has_perm("mfa.view_authenticator")


def may_view_queue(request: HttpRequest) -> bool:
    return request.user.has_perm("django_q.view_ormq")
