from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ProvisioningConfig(AppConfig):
    name = "provisioning"
    verbose_name = "Provisioning"

    def ready(self) -> None:
        from provisioning import checks, task_results  # noqa: F401 - importing registers them
        from provisioning.schedules import ensure_schedules

        task_results.connect()
        post_migrate.connect(ensure_schedules, sender=self)
