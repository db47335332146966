"""The admin of who there is: users, groups, second factors."""

from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from projects import permissions
from projects.admin_records import PanelRecordAdmin, register_all
from projects.groups import GROUPS

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _AnyAdmin = ModelAdmin[Any]
    _DjangoUserAdmin = DjangoUserAdmin[User]
else:
    from unfold.admin import ModelAdmin as _AnyAdmin

    _DjangoUserAdmin = DjangoUserAdmin


class SecondFactorAdmin(PanelRecordAdmin):
    """Second factors: never what is in them. Who lost theirs has it deleted here, and sets up another."""

    list_display = ("user", "type", "created_at", "last_used_at")
    fields = ("user", "type", "created_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("user__username",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("mfa.delete_authenticator") and (obj is None or _may_touch(request.user, obj.user))


class UserAdmin(_DjangoUserAdmin, _AnyAdmin):
    """Users. Superusers are made and changed by superusers; groups are given by whoever may change groups."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request.user, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request.user, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if request.user.is_superuser:
            return fields
        may_grant = request.user.has_perm("auth.change_group")
        return (*fields, "is_superuser", "user_permissions", *(() if may_grant else ("is_staff", "groups")))


def _may_touch(user: permissions.Person, other: User | None) -> bool:
    return other is None or not other.is_superuser or bool(isinstance(user, User) and user.is_superuser)


class GroupAdmin(DjangoGroupAdmin, _AnyAdmin):
    """Groups. The panel's own stay as they are."""

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.name not in GROUPS)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.name not in GROUPS)


def register() -> None:
    """Register them, and nothing of what django-allauth would show besides."""
    register_all({User: UserAdmin, Group: GroupAdmin, Authenticator: SecondFactorAdmin})
    for other in (EmailAddress, SocialAccount, SocialApp, SocialToken):
        if admin.site.is_registered(other):
            admin.site.unregister(other)
