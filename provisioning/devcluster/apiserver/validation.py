"""Value rules of objects: causes of a 422."""

from __future__ import annotations

from . import errors
from .errors import Cause, JsonObject
from .resources import ResourceType


def validate_create(kind: ResourceType, body: JsonObject) -> list[Cause]:
    """Causes of refusal; empty when the object may be created."""
    causes: list[Cause] = []
    metadata = body["metadata"]
    if not metadata.get("name"):
        causes.append(errors.cause_required("metadata.name", "name or generateName is required"))
    return causes


def validate_update(kind: ResourceType, body: JsonObject, live: JsonObject, subresource: str) -> list[Cause]:
    return []
