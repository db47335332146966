"""Names, choices and help texts in plain product English: drift policy, unmanaged clusters, orphaned objects."""

from collections.abc import Callable

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import projects.models.sandbox_template
import projects.models.validators
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def rename_permission(name: str) -> Callable[[Apps, BaseDatabaseSchemaEditor], None]:
    """Return an operation that renames the permission: `migrate` names permissions only when it creates them."""

    def rename(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
        permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
        found = permissions.filter(content_type__app_label="projects", codename="allow_default_database")
        found.update(name=name)

    return rename


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0008_last_applied_manifest"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="foundcluster",
            options={
                "default_permissions": (),
                "ordering": ["namespace", "name"],
                "verbose_name": "unmanaged cluster",
                "verbose_name_plural": "unmanaged clusters",
            },
        ),
        migrations.AlterModelOptions(
            name="orphan",
            options={
                "default_permissions": (),
                "ordering": ["namespace", "kind", "name"],
                "verbose_name": "orphaned object",
            },
        ),
        migrations.AlterModelOptions(
            name="project",
            options={
                "ordering": [django.db.models.functions.text.Lower("name"), "pk"],
                "permissions": [
                    ("provision_project", "Can provision and retry projects"),
                    ("reveal_credentials", "Can reveal database credentials"),
                    ("allow_default_database", "Can allow the default database"),
                ],
            },
        ),
        migrations.AlterField(
            model_name="databasecluster",
            name="origin",
            field=models.CharField(
                choices=[("created", "Created"), ("adopted", "Adopted")], default="created", max_length=20
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="actor",
            field=models.CharField(help_text="The user, or the component of the panel.", max_length=150),
        ),
        migrations.AlterField(
            model_name="project",
            name="default_database_allowed",
            field=models.BooleanField(
                default=False,
                help_text="The sandbox starts with the default database if its own is late.",
                verbose_name="allow default database",
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="desired_state",
            field=models.CharField(
                choices=[("registered", "Not provisioned"), ("running", "Running"), ("deleted", "Deleted")],
                default="registered",
                editable=False,
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="drift_policy",
            field=models.CharField(
                blank=True,
                choices=[("", "Default"), ("mend", "Revert"), ("report", "Report only")],
                help_text="What happens when the project's objects are changed outside the panel.",
                max_length=10,
                verbose_name="drift policy",
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="kubernetes_name",
            field=models.CharField(
                editable=False,
                help_text="Derived from the name. Never reused for another project.",
                max_length=20,
                unique=True,
                verbose_name="Kubernetes name",
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="name",
            field=models.CharField(
                help_text="Letters, digits, spaces, hyphens, underscores and dots.",
                max_length=60,
                validators=[projects.models.validators.validate_name],
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="namespace",
            field=models.CharField(
                blank=True,
                max_length=63,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\Z",
                        "Enter up to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="template",
            field=models.ForeignKey(
                blank=True,
                help_text="What the sandbox runs. Without a template, the panel's settings apply.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="projects",
                to="projects.sandboxtemplate",
                verbose_name="sandbox template",
            ),
        ),
        migrations.AlterField(
            model_name="projectvariable",
            name="name",
            field=models.CharField(
                max_length=200,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[A-Za-z_][A-Za-z0-9_]*\\Z",
                        "Enter letters, digits and underscores, not starting with a digit.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandbox",
            name="credentials",
            field=models.CharField(
                choices=[("none", "None"), ("captured", "Captured"), ("default", "Default credentials")],
                default="none",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="cluster_issuer",
            field=models.CharField(
                blank=True,
                help_text="cert-manager issues a certificate for each port.",
                max_length=253,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z",
                        "Enter a domain in lower case, such as sandboxes.example.org.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="command",
            field=models.CharField(
                blank=True, help_text="Overrides the image's command. Quoted as in a shell.", max_length=500
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="cpu",
            field=models.CharField(
                default="500m",
                max_length=20,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\\Z",
                        "Enter a Kubernetes quantity, such as 500m, 0.5, 512Mi or 10Gi.",
                    )
                ],
                verbose_name="CPU",
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="domain",
            field=models.CharField(
                blank=True,
                help_text="Creates an Ingress at {sandbox}-{port}.{domain} for each port.",
                max_length=150,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z",
                        "Enter a domain in lower case, such as sandboxes.example.org.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="image",
            field=models.CharField(
                help_text="For example registry.example.org/team/app:1.2. Pin a digest for reproducible sandboxes.",
                max_length=300,
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="ingress_class",
            field=models.CharField(
                blank=True,
                max_length=253,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z",
                        "Enter a domain in lower case, such as sandboxes.example.org.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="memory",
            field=models.CharField(
                default="512Mi",
                max_length=20,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\\Z",
                        "Enter a Kubernetes quantity, such as 500m, 0.5, 512Mi or 10Gi.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="ports",
            field=models.CharField(
                default="app:3000",
                help_text="Comma-separated name:number pairs, the main port first.",
                max_length=300,
                validators=[projects.models.sandbox_template.validate_ports],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="readiness_path",
            field=models.CharField(
                blank=True,
                help_text="Path on the main port that returns 200 when ready. Without a path, the port has to be open.",
                max_length=200,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A/\\S*\\Z", "Enter a path that starts with a slash and has no spaces, such as /healthz."
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="storage",
            field=models.CharField(
                default="10Gi",
                max_length=20,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A[0-9]+(\\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\\Z",
                        "Enter a Kubernetes quantity, such as 500m, 0.5, 512Mi or 10Gi.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="storage_class",
            field=models.CharField(
                blank=True,
                max_length=253,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z",
                        "Enter a domain in lower case, such as sandboxes.example.org.",
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sandboxtemplate",
            name="tls_secret",
            field=models.CharField(
                blank=True,
                help_text="Wildcard certificate for all ports.",
                max_length=253,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\\Z",
                        "Enter a domain in lower case, such as sandboxes.example.org.",
                    )
                ],
                verbose_name="TLS Secret",
            ),
        ),
        migrations.RunPython(
            rename_permission("Can allow the default database"),
            rename_permission("Can let a project start with the default database"),
        ),
    ]
