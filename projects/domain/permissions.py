"""Who may do what: the rules for pages, fragments, the admin and its actions. docs/access.md describes them."""

from typing import Protocol, TypeVar, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import Model, QuerySet


class Owned(Protocol):
    """An object that may have an owner: a project."""

    @property
    def owner_id(self) -> int | None: ...


_Row = TypeVar("_Row", bound=Model)
Person = AbstractBaseUser | AnonymousUser

# Permissions that the owner of a project has for it. Revealing its password isn't one: that is granted individually.
OWNERS_MAY = frozenset({"view_project", "change_project", "provision_project", "delete_project"})


def is_staff(user: Person) -> bool:
    """Whether the user may use the panel at all."""
    person = cast("User", user)
    return person.is_active and person.is_staff


def may(user: Person, codename: str, project: Owned | None = None) -> bool:
    """Whether the user has the permission `projects.<codename>` for every project, or for this one as its owner.

    Nobody may change a project that they can't see.
    """
    has_permission = bool(cast("AnonymousUser", user).has_perm(f"projects.{codename}"))
    if project is None:
        return has_permission
    if owns(user, project):
        return has_permission or codename in OWNERS_MAY
    return has_permission and may(user, "view_project")


def may_adopt(user: Person) -> bool:
    """Whether the user may make a Cluster that the panel didn't create a project's database. Owning a project isn't
    enough: until then, the Cluster belongs to somebody else."""
    return may(user, "view_project") and may(user, "provision_project")


def may_delete_adopted(user: Person) -> bool:
    """Whether the user may delete an adopted database with its project. Owning the project isn't enough: for its owner,
    the database is released."""
    return may(user, "view_project") and may(user, "delete_project")


def visible(rows: QuerySet[_Row], user: Person, *, owner: str) -> QuerySet[_Row]:
    """Return the rows that the user may see: all with the permission to view projects, else those of the user's own
    projects. `owner` is the lookup from a row to its project's owner."""
    if may(user, "view_project"):
        return rows
    return rows.filter(**{owner: user.pk}) if is_staff(user) else rows.none()


def owns(user: Person, project: Owned) -> bool:
    return is_staff(user) and project.owner_id is not None and project.owner_id == user.pk
