"""The manifests that the panel last applied. Drift is measured against them."""

from typing import Any

from django.db import models


class LastAppliedManifest(models.Model):
    """An object as it was last applied. A Cluster, which is sent once, is stored before it is sent. Values of Secrets
    are stored as keyed digests."""

    project = models.ForeignKey("projects.Project", models.PROTECT, related_name="applied")
    kind = models.CharField(max_length=60)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    # As the API server answered; empty while the answer is unknown, and in rows of version 0.1.0.
    object_uid = models.CharField(max_length=64, blank=True)
    manifest: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField()
    # What admission changed of it, as the API server answered: [path, digest of the value].
    admitted: "models.JSONField[list[list[str]], list[list[str]]]" = models.JSONField(default=list, blank=True)
    applied_at = models.DateTimeField()

    class Meta:
        db_table = "projects_appliedobject"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["namespace", "kind", "name"], name="one_manifest_an_object"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
