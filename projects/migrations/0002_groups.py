"""The groups Viewer, Operator, Credentials and Administrator."""

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from projects.access.groups import ensure_groups


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """On a fresh database no permission exists yet: they are made at the end of `migrate`. Make them now."""
    using = schema_editor.connection.alias
    for app_config in apps.get_app_configs():
        # What stands for an app in a migration has no models module, without which Django looks at no model.
        app_config.models_module = True
        create_permissions(app_config, verbosity=0, interactive=False, using=using, apps=apps)
    ensure_groups(apps, using)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        # Permissions of their models are in the groups.
        ("auditlog", "__first__"),
        ("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more"),
        ("mfa", "__first__"),
        ("projects", "0001_initial"),
    ]

    # Backwards the groups stay: people are in them, and every `migrate` would make them again at its end.
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
