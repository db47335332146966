"""What the stand-in remembers of a Cluster between two reconciliations.

It can be lost: it only saves requests and measures times.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.states import component_name, component_of

UPDATE_S = 0.5


@dataclass
class Memory:
    """`first_seen` is a time (seconds since 1970), `first_generation` the generation before the spec was completed."""

    first_seen: float
    first_generation: int
    newest: Object | None = None
    start: asyncio.Task[None] | None = None
    start_error: str = ""
    start_after: float = 0.0
    down_since: float | None = None
    updating_until: float = 0.0
    rolled_out: Object | None = None
    needs_restart: bool = False
    is_placed: bool = False
    is_bound: bool = True
    component: Object | None = None
    instance_set: Object | None = None
    written: dict[str, object] = field(default_factory=dict)
    secrets_made: dict[str, float] = field(default_factory=dict)
    kept_password: str = ""
    is_told: bool = False

    @classmethod
    def of(cls, cluster: Object) -> Memory:
        # creationTimestamp has whole seconds, so the age of a new Cluster counts from now.
        created = datetime.fromisoformat(cluster["metadata"]["creationTimestamp"]).timestamp()
        now = time.time()
        return cls(now if now - created < 2 else created, cluster["metadata"]["generation"])

    @property
    def is_starting(self) -> bool:
        return self.start is not None and not self.start.done()

    def newer(self, cluster: Object) -> Object:
        """Return the newer of `cluster` and the result of the last write, which the watch may not have reported yet."""
        if self.newest is None or _version(self.newest) <= _version(cluster):
            self.newest = None
            return cluster
        return self.newest

    def note_change(self, cluster: Object) -> None:
        """Begin to roll out the spec of the component if it has changed since the last roll-out."""
        component, status = component_of(cluster), cluster.get("status") or {}
        seen = (status.get("components") or {}).get(component_name(cluster), {})
        if status.get("phase") in (None, "", "Creating"):
            self.rolled_out = component
            return
        if self.rolled_out is None:
            is_observed = status.get("observedGeneration") == cluster["metadata"]["generation"]
            is_done = is_observed and seen.get("upToDate", True)
            self.rolled_out = component if is_done else {}
        if self.rolled_out == component:
            return
        before, self.rolled_out = self.rolled_out, component
        self.updating_until = time.time() + UPDATE_S
        if any(before.get(key) != component.get(key) for key in ("annotations", "resources")):
            self.needs_restart = True


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])
