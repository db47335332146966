"""The panel's four groups. `migrate` restores their permissions; for other combinations, create other groups."""

from typing import Any

from django.apps.registry import Apps

VIEWER, OPERATOR, CREDENTIALS, ADMINISTRATOR = "Viewer", "Operator", "Credentials", "Administrator"

_SEES = frozenset({"projects.view_project", "projects.view_sandboxtemplate"})
# Every permission that the pages and the admin check. The admin itself refuses what nobody may do, such as deleting a
# project's row.
_EVERYTHING = frozenset(
    {
        "projects.add_project",
        "projects.change_project",
        "projects.provision_project",
        "projects.delete_project",
        "projects.reveal_credentials",
        "projects.allow_default_database",
        "auditlog.view_logentry",
        "mfa.view_authenticator",
        "mfa.delete_authenticator",
        "django_q.view_ormq",
        "django_q.view_success",
        "django_q.view_failure",
        "django_q.view_schedule",
        *(f"projects.{verb}_sandboxtemplate" for verb in ("add", "change", "delete")),
        *(f"auth.{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("user", "group")),
    }
)
GROUPS: dict[str, frozenset[str]] = {
    VIEWER: _SEES,
    OPERATOR: _SEES | {f"projects.{verb}_project" for verb in ("add", "change", "provision", "delete")},
    CREDENTIALS: _SEES | {"projects.reveal_credentials"},
    ADMINISTRATOR: _SEES | _EVERYTHING,
}


def ensure_groups(apps: Apps, using: str) -> None:
    """Create missing groups and grant each its missing permissions. Takes no permission away.

    A permission that doesn't exist yet is granted by a later call: each migration ends with one.
    """
    group_model: Any = apps.get_model("auth", "Group")
    permission_model: Any = apps.get_model("auth", "Permission")
    wanted = {label.split(".")[1] for labels in GROUPS.values() for label in labels}
    permissions = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in permission_model.objects.using(using)
        .filter(codename__in=wanted)
        .select_related("content_type")
    }
    for name, labels in GROUPS.items():
        group, _ = group_model.objects.using(using).get_or_create(name=name)
        group.permissions.add(*(permissions[label] for label in sorted(labels & permissions.keys())))
