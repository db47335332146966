"""A sandbox knows the certificates that were asked for it: what was applied forgets those of ports that are gone."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def find_certificates(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Of what is there already, those are known that were applied last. One that isn't called after its sandbox is a
    wildcard, which others use too."""
    applied = apps.get_model("projects", "AppliedObject").objects.filter(kind="Ingress")
    for sandbox in apps.get_model("projects", "Sandbox").objects.filter(project__in=applied.values("project")):
        names = {
            tls.get("secretName", "")
            for ingress in applied.filter(project=sandbox.project_id, namespace=sandbox.namespace)
            if "cert-manager.io/cluster-issuer" in ingress.manifest["metadata"].get("annotations", {})
            for tls in ingress.manifest["spec"].get("tls", [])
        }
        sandbox.certificates = sorted(name for name in names if name.startswith(f"{sandbox.name}-"))
        sandbox.save(update_fields=["certificates"])


class Migration(migrations.Migration):
    dependencies = [("projects", "0004_adopts_by_name")]

    operations = [
        migrations.AddField("sandbox", "certificates", models.JSONField(blank=True, default=list, editable=False)),
        migrations.RunPython(find_certificates, migrations.RunPython.noop, elidable=True),
    ]
