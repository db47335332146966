"""What a write asks for: the object it is about, its options, and the body of a patch."""

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
    """Filled on the way; answered as `Warning: 299` headers."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Media type without parameters and the decoded body."""

    media_type: str
    body: Any


@dataclass(frozen=True, slots=True)
class Target:
    """One object's address."""

    kind: ResourceType
    namespace: str
    name: str
    subresource: str = ""
