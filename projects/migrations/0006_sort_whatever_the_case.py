"""Lists of projects sort `aaa` before `My Shop`: by name in lower case, with indexes for it."""

from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0005_certificates_of_a_sandbox"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="project",
            options={
                "ordering": [Lower("name"), "pk"],
                "permissions": [
                    ("provision_project", "Can provision and retry projects"),
                    ("reveal_credentials", "Can reveal database credentials"),
                    ("allow_default_database", "Can let a project start with the default database"),
                ],
            },
        ),
        migrations.RemoveIndex(
            model_name="project",
            name="project_phase",
        ),
        migrations.RemoveIndex(
            model_name="project",
            name="project_name",
        ),
        migrations.AddIndex(
            model_name="project",
            index=models.Index(models.F("phase"), Lower("name"), name="project_phase_name"),
        ),
        migrations.AddIndex(
            model_name="project",
            index=models.Index(Lower("name"), models.F("id"), name="project_lower_name"),
        ),
    ]
