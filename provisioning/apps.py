from typing import Any

from django.apps import AppConfig
from django.core.management import call_command
from django.db.models.signals import post_migrate


def make_cache_table(using: str, **_: Any) -> None:
    """Create the table of the shared cache if it is missing, so that a new database needs only `migrate`."""
    call_command("createcachetable", verbosity=0, database=using)


class ProvisioningConfig(AppConfig):
    name = "provisioning"
    verbose_name = "Provisioning"

    def ready(self) -> None:
        from provisioning import checks  # noqa: F401 - importing registers them
        from provisioning.queue.results import mask_results
        from provisioning.tasks import ensure_schedules

        mask_results()
        post_migrate.connect(ensure_schedules, sender=self)
        post_migrate.connect(make_cache_table, sender=self, dispatch_uid="make_cache_table")
