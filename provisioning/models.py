"""Rows of the panel's processes: leases, heartbeats, and what the watcher has seen."""

from django.db import models


class ProcessLease(models.Model):
    """A role that one process holds at a time ("watcher", "sweep"), or a heartbeat ("queue").

    `token` is a fence: a holder renews only the lease that still has its token.
    """

    name = models.CharField(max_length=40, primary_key=True)
    holder = models.CharField(max_length=200, blank=True)
    token = models.UUIDField(null=True)
    renewed_at = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)
    details = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder or 'nobody'}"


class ClusterIdentity(models.Model):
    """The UID of a namespace of the cluster that the state belongs to: `kube-system`, and the projects' namespace for
    accounts that can't read the former."""

    namespace = models.CharField(max_length=63, primary_key=True)
    uid = models.CharField(max_length=100)
    recorded_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.namespace} is {self.uid}"


class ClusterChange(models.Model):
    """The last change of a Cluster that the watcher has seen: of its Secret, or from ready to another state. Passes
    read again what they had found before it."""

    namespace = models.CharField(max_length=63)
    cluster = models.CharField(max_length=63)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["namespace", "cluster"], name="one_change_a_cluster")]

    def __str__(self) -> str:
        return f"change of {self.cluster}"
