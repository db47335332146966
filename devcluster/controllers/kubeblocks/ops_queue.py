"""The queue of OpsRequests in the annotation of a Cluster. Pure.

Requests of all types wait for each other. A VolumeExpansion waits for other VolumeExpansions only.
"""

from __future__ import annotations

import json

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.ops_changes import kind_of

QUEUE_ANNOTATION = "kubeblocks.io/ops-request"
_BY_ITSELF = ("VolumeExpansion",)


def queue_of(cluster: Object) -> list[Object]:
    """Return the entries of the annotation; none if it can't be read."""
    text = (cluster["metadata"].get("annotations") or {}).get(QUEUE_ANNOTATION) or "[]"
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _is_before(entry: Object, kind: str) -> bool:
    """Return whether a request of `kind` has to wait for an entry that was there first."""
    return entry.get("type") == kind if kind in _BY_ITSELF else not entry.get("queueBySelf")


def enter(cluster: Object, request: Object) -> list[Object] | None:
    """Return the queue in which the request has its place; None if it has it already.

    An entry that is the first of its queue loses `inQueue`: it may go on."""
    name, kind, queue = request["metadata"]["name"], kind_of(request), queue_of(cluster)
    known = next((index for index, entry in enumerate(queue) if entry.get("name") == name), None)
    earlier = queue if known is None else queue[:known]
    has_to_wait = any(_is_before(entry, kind) for entry in earlier)
    entry: Object = {"name": name, "type": kind}
    if has_to_wait:
        entry["inQueue"] = True
    if kind in _BY_ITSELF:
        entry["queueBySelf"] = True
    if known is None:
        return [*queue, entry]
    if queue[known] == entry:
        return None
    return [*queue[:known], entry, *queue[known + 1 :]]


def leave(cluster: Object, name: str) -> list[Object] | None:
    """Return the queue without the request; None if it is not there."""
    queue = queue_of(cluster)
    rest = [entry for entry in queue if entry.get("name") != name]
    return rest if rest != queue else None


def is_waiting(queue: list[Object], name: str) -> bool:
    return any(entry.get("name") == name and entry.get("inQueue") for entry in queue)


def annotation(queue: list[Object]) -> str | None:
    """Return the value of the annotation; None if nothing is left of it."""
    return json.dumps(queue, separators=(",", ":")) if queue else None
