"""A kind of the vocabulary, and the fields that all kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.rest import Object


@dataclass(frozen=True)
class Field:
    """A field by its path (`spec/ports/0/name`; `~1` is a slash in a key), and values that it takes or refuses."""

    path: str
    valid: Sequence[Any]
    invalid: Sequence[Any] = ()


@dataclass(frozen=True)
class Kind:
    plural: str
    group_version: str
    kind: str
    base: Object
    """A valid object without apiVersion, kind and metadata."""
    fields: tuple[Field, ...] = ()
    status: tuple[Field, ...] = ()
    has_scale: bool = False
    is_custom: bool = False
    is_protected: bool = False
    """Whether a controller adds a finalizer again when it is removed."""
    companions: tuple[str, ...] = field(default=())
    """Kinds that a sequence about this kind writes too."""

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        root = "/api/v1" if self.group_version == "v1" else f"/apis/{self.group_version}"
        parts = [root, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)

    @property
    def typed(self) -> Object:
        return {"apiVersion": self.group_version, "kind": self.kind}


METADATA: tuple[Field, ...] = (
    Field("metadata/labels/x", ["1", "2", ""], ["-bad", "a b", 5, None]),
    Field("metadata/labels/example.com~1y", ["1", "2"], ["x" * 64]),
    Field("metadata/labels", [{"x": "1"}, {"z": "3"}, {}], ["text", None, {"-": "1"}, []]),
    Field("metadata/annotations/note", ["one", "two", ""], [1, None, {}]),
    Field("metadata/annotations", [{"note": "one", "other": "x"}, {}], [None, {"a b": "1"}]),
    Field(
        "metadata/finalizers",
        [["example.com/hold"], ["example.com/hold", "example.com/other"], []],
        [["hold"], ["example.com/"], "example.com/hold", None, [None]],
    ),
)
"""Fields of the metadata that clients write."""

WRONG: tuple[Any, ...] = ("", "text", "Upper_", "-", 0, -1, 1.5, True, None, [], {}, ["x"], {"x": "y"}, [None], [{}])
"""Put in the place of any field, one at a time."""
