"""Rename the model; its table keeps its name, so the database is not touched."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("projects", "0007_login_plugin_failed")]

    operations = [
        migrations.AlterModelTable(name="appliedobject", table="projects_appliedobject"),
        migrations.RenameModel(old_name="AppliedObject", new_name="LastAppliedManifest"),
    ]
