"""Parameters of writes: the object, the options, and the body of a patch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devcluster.apiserver.schema.resources import ResourceType


@dataclass(slots=True)
class WriteOptions:
    """Query parameters of a write."""

    user: str
    field_manager: str
    explicit_manager: str = ""
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)
    """Warnings that the write adds. The response has them as `Warning: 299` headers."""


@dataclass(frozen=True, slots=True)
class Patch:
    """The media type without parameters, and the decoded body."""

    media_type: str
    body: Any


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an object."""

    kind: ResourceType
    namespace: str
    name: str
    subresource: str = ""
