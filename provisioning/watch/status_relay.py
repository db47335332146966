"""What waiting databases say of themselves meanwhile, written to their rows straight from the watch.

Between creation and Running a Cluster changes its words several times. No decision depends on them, so no pass is run
for them, and no request made: people still read on the page what KubeBlocks says.
"""

import threading

from django.db import transaction
from django.db.models import F

from projects.domain.states import Phase, Reason
from projects.models import DatabaseCluster, Project
from provisioning.decisions.readiness import Readiness, State, judge_cluster
from provisioning.objects.readers import Object, metadata_of, text

# StatusRelay that come before the pass that applied the Cluster has recorded it are kept for as many rounds.
_ROUNDS = 5
# A transaction of so many rows holds up nobody.
_BATCH = 200


class StatusRelay:
    """The latest words of each waiting Cluster until they are written. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str], tuple[Readiness, int]] = {}

    def take(self, cluster: Object) -> None:
        """Remember what a waiting Cluster says; others are none of our business."""
        seen, metadata = judge_cluster(cluster), metadata_of(cluster)
        if seen.state is State.WAITING and seen.phase:
            with self._lock:
                self._pending[text(metadata.get("namespace")), text(metadata.get("name"))] = seen, _ROUNDS

    def write(self) -> int:
        """Write what was remembered to the rows that still wait for their database; return to how many."""
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
    """Write the same words to the rows of these Clusters; return the names of those that wait for them."""
    with transaction.atomic():
        waiting = DatabaseCluster.objects.filter(
            namespace=namespace,
            name__in=names,
            retired_at=None,
            running_at=None,
            phase=Phase.CREATING,
            reason=Reason.CLUSTER_NOT_RUNNING,
            # A pass that is under way says what it has seen itself.
            project__lease_until=None,
            project__observed_generation=F("project__wanted_generation"),
        )
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
