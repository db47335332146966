"""Users, groups and second factors in the admin."""

from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from projects.access.groups import GROUPS
from projects.access.people import grantable_groups, grantable_permissions, may_edit_group, may_edit_user
from projects.admin.base import PanelModelAdmin, PanelRecordAdmin, column, register_replacing, unregister
from projects.domain import permissions
from projects.templatetags.panel import ago

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _AnyAdmin = ModelAdmin[Any]
    _DjangoUserAdmin = DjangoUserAdmin[User]
else:
    _DjangoUserAdmin = DjangoUserAdmin


_HELP = {
    "is_active": "Deactivate users instead of deleting them.",
    "is_staff": "Required to log in, whatever the user's groups.",
    "groups": "The user's permissions. Also requires staff status.",
}


@register_replacing(Authenticator)
class SecondFactorAdmin(PanelRecordAdmin):
    """Second factors, without their secrets. Delete one whose user has lost it; the user can then set up another."""

    list_display = ("user", "type", "created_at", "last_used_at")
    fields = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__username",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mfa.delete_authenticator") and (
            obj is None or may_edit_user(request.user, obj.user)
        )


@register_replacing(User)
class UserAdmin(_DjangoUserAdmin, PanelModelAdmin):
    """Users. Nobody can edit users with more permissions than their own, or assign such groups."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "groups_shown", "is_staff", "is_superuser", "is_active", "last_login_shown")
    list_per_page = 25
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_form(self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, **{**kwargs, "help_texts": _HELP})

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        user: User = form.instance
        if not user.is_staff and user.groups.exists():
            name = user.get_username()
            messages.warning(request, f"{name} can't log in yet: staff status is off. Enable it to use the groups.")

    @column("Groups")
    def groups_shown(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all())) or "–"

    @column("Last login", ordering="last_login")
    def last_login_shown(self, user: User) -> SafeString:
        return ago(user.last_login, empty="Never")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_edit_user(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or may_edit_user(request.user, obj))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name == "groups":
            field.queryset = grantable_groups(request.user)
        return field

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # Read-only: the form would cut off the fraction of a second and so record a change.
        fields = (*super().get_readonly_fields(request, obj), "last_login", "date_joined")
        if request.user.is_superuser:
            return fields
        may_grant = request.user.has_perm("auth.change_group")
        return (*fields, "is_superuser", "user_permissions", *(() if may_grant else ("is_staff", "groups")))


@register_replacing(Group)
class GroupAdmin(DjangoGroupAdmin, PanelModelAdmin):
    """Groups. The four built-in groups are fixed; nobody can edit groups with more permissions than their own."""

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_edit(request.user, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_edit(request.user, obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and request is not None and db_field.name == "permissions":
            field.queryset = grantable_permissions(request.user)
        return field


def _may_edit(user: permissions.Person, group: Group | None) -> bool:
    return group is None or (group.name not in GROUPS and may_edit_group(user, group))


# Models of django-allauth that the panel doesn't use.
unregister(EmailAddress, SocialAccount, SocialApp, SocialToken)
