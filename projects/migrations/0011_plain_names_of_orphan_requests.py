from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("projects", "0010_uids_of_applied_objects")]

    operations = [
        migrations.RenameField("orphan", "wish", "requested_action"),
        migrations.RenameField("orphan", "wished_by", "requested_by"),
    ]
