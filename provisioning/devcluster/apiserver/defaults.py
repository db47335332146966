"""What the server fills in or takes away: defaults of built-in kinds, status on create, spec or status on update."""

from __future__ import annotations

from typing import Any

from .errors import JsonObject
from .resources import ResourceType


def reset_for_create(kind: ResourceType, body: JsonObject) -> None:
    """A created object starts without the status its author wrote."""
    if kind.has_status:
        body.pop("status", None)


def fill_defaults(kind: ResourceType, body: JsonObject) -> None:
    """Defaults of built-in kinds; custom resources got theirs while decoding."""


def merge_for_update(kind: ResourceType, live: JsonObject, body: JsonObject, subresource: str) -> JsonObject:
    """The object to write: everything but status for the main resource, only status for `/status`."""
    if not kind.has_status:
        return dict(body)
    if subresource == "status":
        changed = dict(live)
        changed["metadata"] = dict(live["metadata"])
        if "managedFields" in body["metadata"]:
            changed["metadata"]["managedFields"] = body["metadata"]["managedFields"]
        _copy_or_drop(changed, body, "status")
        return changed
    changed = dict(body)
    changed["metadata"] = dict(body["metadata"])
    _copy_or_drop(changed, live, "status")
    return changed


def _copy_or_drop(into: JsonObject, source: JsonObject, name: str) -> None:
    value: Any = source.get(name)
    if value is None:
        into.pop(name, None)
    else:
        into[name] = value
