"""Which users and groups a user can edit: nobody can grant or remove permissions that they don't have."""

from typing import cast

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet

from projects.domain.permissions import Person


def granted_permissions(user: User) -> frozenset[str]:
    """Return the permissions (`app.codename`) that a user has directly and by groups, also while the user is inactive:
    activating the user restores them."""
    granted = Permission.objects.filter(Q(user=user) | Q(group__user=user)).select_related("content_type").distinct()
    return frozenset(map(_label, granted))


def has_all(editor: Person, labels: frozenset[str]) -> bool:
    """Whether the editor has all of these permissions; a superuser has every one."""
    return bool(cast("User", editor).has_perms(labels))


def may_edit_user(editor: Person, user: User) -> bool:
    """Whether the editor may change, delete or set the password of a user: not of one who may do more than they may."""
    if user.is_superuser:
        return bool(isinstance(editor, User) and editor.is_superuser)
    return has_all(editor, granted_permissions(user))


def may_edit_group(editor: Person, group: Group) -> bool:
    """Whether the editor may change or delete a group: not one that gives more than they have."""
    return has_all(editor, frozenset(map(_label, group.permissions.select_related("content_type"))))


def grantable_permissions(editor: Person) -> QuerySet[Permission]:
    """Return the permissions that the editor has, and so may put into a group."""
    everything = Permission.objects.select_related("content_type")
    if cast("User", editor).is_superuser:
        return everything
    mine = cast("User", editor).get_all_permissions()
    return everything.filter(pk__in=[permission.pk for permission in everything if _label(permission) in mine])


def grantable_groups(editor: Person) -> QuerySet[Group]:
    """Return the groups that give no more than the editor has, and so may be given to a user."""
    if cast("User", editor).is_superuser:
        return Group.objects.all()
    beyond = Permission.objects.exclude(pk__in=grantable_permissions(editor).values("pk"))
    return Group.objects.exclude(permissions__in=beyond)


def _label(permission: Permission) -> str:
    return f"{permission.content_type.app_label}.{permission.codename}"
