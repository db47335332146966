from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate

from projects.access.groups import ensure_groups


class ProjectsConfig(AppConfig):
    name = "projects"
    verbose_name = "Projects"

    def ready(self) -> None:
        from projects.access import reauthentication
        from projects.audit import admin_history, log

        admin_history.connect()
        reauthentication.connect()
        log.connect()
        # After auth's own receiver, which creates the permissions: this app is listed after auth and django_q.
        post_migrate.connect(_ensure_groups, sender=self)


def _ensure_groups(*, using: str, **_: Any) -> None:
    ensure_groups(apps, using)
