"""Who may do what: the one place that decides it for pages, fragments, the admin and its actions. docs/access.md has
the same in a table."""

from typing import Protocol, TypeVar, cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import Model, QuerySet


class Owned(Protocol):
    """Something that may have an owner: a project."""

    @property
    def owner_id(self) -> int | None: ...


_Row = TypeVar("_Row", bound=Model)
Person = AbstractBaseUser | AnonymousUser

# What staff may do with a project because they own it. Not its password: who may see passwords is said one by one.
OWNERS_MAY = frozenset({"view_project", "change_project", "provision_project", "delete_project"})


def is_staff(user: Person) -> bool:
    """Whether the user may enter the panel at all."""
    person = cast("User", user)
    return person.is_active and person.is_staff


def may(user: Person, codename: str, project: Owned | None = None) -> bool:
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


def may_delete_adopted(user: Person) -> bool:
    """Whether the user may delete what was adopted along with its project. Nobody may as an owner, for the same reason:
    who owns the project has it released."""
    return may(user, "view_project") and may(user, "delete_project")


def visible(rows: QuerySet[_Row], user: Person, *, owner: str) -> QuerySet[_Row]:
    """Return those of the rows that the user sees: all with the permission to view projects, else those of the
    projects that they own. `owner` is the way from such a row to its project's owner."""
    if may(user, "view_project"):
        return rows
    return rows.filter(**{owner: user.pk}) if is_staff(user) else rows.none()


def owns(user: Person, project: Owned) -> bool:
    return is_staff(user) and project.owner_id is not None and project.owner_id == user.pk


# --- As the admin's sidebar asks ------------------------------------------------------------------------------
