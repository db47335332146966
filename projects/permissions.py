"""Who may see what, as callables for the admin's sidebar and for the pages."""

from django.http import HttpRequest


def may_view_projects(request: HttpRequest) -> bool:
    return request.user.has_perm("projects.view_project")


def may_view_templates(request: HttpRequest) -> bool:
    return request.user.has_perm("projects.view_sandboxtemplate")


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)
