"""Clusters in the watched namespaces that belong to no project, as of the last inventory."""

from datetime import datetime, timedelta

from django.db import models


class FoundCluster(models.Model):
    """A KubeBlocks Cluster that belongs to no project. The inventory writes these rows and deletes outdated ones."""

    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    api_version = models.CharField(max_length=60)
    phase = models.CharField("KubeBlocks phase", max_length=30, blank=True)
    version = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField("created", null=True)
    # The Kubernetes name of the project that it may belong to, by its labels and its name.
    hint = models.CharField(max_length=63, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    # A sentence about the Secret with its credentials, and whether that is complete.
    secret_note = models.TextField(blank=True)
    has_credentials = models.BooleanField(default=False)
    # The uid of the only project that may adopt it, if it has a project's label; "" for any project.
    claimed_by = models.CharField(max_length=64, blank=True)
    # Why no project can adopt it; "" if one can.
    obstacle = models.TextField(blank=True)
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name = "unmanaged cluster"
        verbose_name_plural = "unmanaged clusters"
        ordering = ["namespace", "name"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["namespace", "name"], name="one_row_a_found_cluster")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Inventory(models.Model):
    """The single row with the age of the inventory, and whether a new one was requested.

    At most one task is queued (`queued_at`) and at most one runs (`running_until`).
    """

    PK = 1

    requested_at = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(null=True)
    running_until = models.DateTimeField(null=True)
    # When the last inventory started, complete or not, and when the last complete one did.
    looked_at = models.DateTimeField(null=True)
    complete_at = models.DateTimeField(null=True)
    # What the last inventory couldn't read.
    trouble = models.TextField(blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"inventory of {self.looked_at or 'never'}"

    @property
    def is_awaited(self) -> bool:
        """Whether an inventory was requested and hasn't started."""
        return self.requested_at is not None and (self.looked_at is None or self.looked_at < self.requested_at)

    def is_older_than(self, age: timedelta, now: datetime) -> bool:
        return self.looked_at is None or now - self.looked_at > age


def read_inventory() -> Inventory:
    """Return the row, unsaved if there was no inventory yet."""
    return Inventory.objects.filter(pk=Inventory.PK).first() or Inventory(pk=Inventory.PK)
