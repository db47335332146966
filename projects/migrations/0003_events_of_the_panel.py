"""Events say themselves whether the panel wrote them: a user may be called like it."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Of what is there already only the name is known."""
    apps.get_model("projects", "Event").objects.filter(actor="panel").update(by_panel=True)


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_groups")]

    operations = [
        migrations.AddField("event", "by_panel", models.BooleanField(default=False, editable=False)),
        migrations.RunPython(mark, migrations.RunPython.noop, elidable=True),
    ]
