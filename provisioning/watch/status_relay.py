"""Copies status messages of pending Clusters from the watch into their rows, without a pass.

Between creation and Running, a Cluster's message changes several times. No decision depends on it, but people read it.
"""

import threading

from django.db import transaction
from django.db.models import F

from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from provisioning.decisions.readiness import Readiness, State, judge_cluster
from provisioning.objects.readers import Object, metadata_of, text

# Rounds for which a message is kept that arrives before the pass that created the Cluster has recorded it.
_ROUNDS = 5
# Batch size: keeps each transaction short.
_BATCH = 200


class StatusRelay:
    """The latest message of each pending Cluster, until it is written. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], tuple[Readiness, int]] = {}

    def take(self, cluster: Object) -> None:
        """Remember the message of a pending Cluster."""
        seen, metadata = judge_cluster(cluster), metadata_of(cluster)
        if seen.state is State.WAITING and seen.phase:
            with self._lock:
                self._pending[text(metadata.get("namespace")), text(metadata.get("name"))] = seen, _ROUNDS

    def write(self) -> int:
        """Write the messages to the rows of databases that are still pending; return how many were written."""
        with self._lock:
            pending, self._pending = self._pending, {}
        if not pending:
            return 0
        groups: dict[tuple[str, str, str], list[str]] = {}
        for (namespace, name), (seen, _) in pending.items():
            groups.setdefault((namespace, seen.phase[:30], seen.message), []).append(name)
        written: set[tuple[str, str]] = set()
        for (namespace, phase, message), names in groups.items():
            for start in range(0, len(names), _BATCH):
                batch = _write(namespace, names[start : start + _BATCH], phase, message)
                written |= {(namespace, name) for name in batch}
        with self._lock:
            for key, (seen, rounds) in pending.items():
                if key not in written and rounds:
                    self._pending.setdefault(key, (seen, rounds - 1))
        return len(written)


def _write(namespace: str, names: list[str], phase: str, message: str) -> list[str]:
    """Write one message to the rows of these Clusters; return the names of those whose row is pending."""
    with transaction.atomic():
        waiting = DatabaseCluster.objects.filter(
            namespace=namespace,
            name__in=names,
            retired_at=None,
            running_at=None,
            phase=Phase.CREATING,
            reason=Reason.CLUSTER_NOT_RUNNING,
            # A pass that is running records its own observation.
            project__lease_until=None,
            project__observed_generation=F("project__wanted_generation"),
        )
        # A pass that found out why the database is late said the same and more.
        waiting = waiting.exclude(message__startswith=f"{message} ")
        found = list(waiting.values_list("pk", "name", "project_id"))
        if found:
            DatabaseCluster.objects.filter(pk__in=[pk for pk, _, _ in found]).update(
                message=message, observed_phase=phase
            )
            Project.objects.filter(
                pk__in=[project_id for _, _, project_id in found],
                phase=Phase.WAITING,
                reason=Reason.CLUSTER_NOT_RUNNING,
            ).update(message=message)
    return [name for _, name, _ in found]
