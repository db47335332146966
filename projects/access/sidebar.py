"""Permission callbacks of the sidebar: which entries a user sees."""

from django.conf import settings
from django.http import HttpRequest

from projects.domain.permissions import is_staff, may


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
