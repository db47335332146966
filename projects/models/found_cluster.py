"""Clusters in the watched namespaces that no project owns, as the last inventory saw them."""

from datetime import datetime, timedelta

from django.db import models


class FoundCluster(models.Model):
    """A KubeBlocks Cluster that no project owns. Written by the inventory, which also removes what vanished."""

    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    api_version = models.CharField(max_length=60)
    phase = models.CharField("KubeBlocks phase", max_length=30, blank=True)
    version = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField("created", null=True)
    # Whose it may be, going by its labels and its name.
    hint = models.CharField(max_length=63, blank=True)
    labels = models.JSONField(default=dict, blank=True)
    # A sentence about the Secret with its credentials, and whether it is complete.
    secret_note = models.TextField(blank=True)
    has_credentials = models.BooleanField(default=False)
    # The uid of the only project that may adopt it, where the Cluster has a project's label; "" for any.
    claimed_by = models.CharField(max_length=64, blank=True)
    # Why nobody can adopt it, in a sentence; "" if it can be adopted.
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
    """The one row that says how old the list of found clusters is, and whether a newer one was asked for.

    At most one task waits (`queued_at`) and at most one runs (`running_until`).
    """

    PK = 1

    requested_at = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(null=True)
    running_until = models.DateTimeField(null=True)
    # When the last inventory began to look, whether or not it saw everything; and when one last saw everything.
    looked_at = models.DateTimeField(null=True)
    complete_at = models.DateTimeField(null=True)
    # What kept the last one from seeing everything, in a sentence.
    trouble = models.TextField(blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"inventory of {self.looked_at or 'never'}"

    @property
    def is_awaited(self) -> bool:
        """Whether one was asked for that has not looked yet."""
        return self.requested_at is not None and (self.looked_at is None or self.looked_at < self.requested_at)

    def is_older_than(self, age: timedelta, now: datetime) -> bool:
        return self.looked_at is None or now - self.looked_at > age


def read_inventory() -> Inventory:
    """Return the row; an unsaved one where nobody has looked yet."""
    return Inventory.objects.filter(pk=Inventory.PK).first() or Inventory(pk=Inventory.PK)
