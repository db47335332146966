"""Types of objects: a tree of `Node` for built-in kinds (compact table) and for custom resources (openAPIV3Schema).

A node defines the JSON type of a field, how lists and maps merge (server-side apply, strategic merge), and, for custom
resources, which values are valid. Decoding, validation and server-side apply walk the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from devcluster.apiserver.errors import JsonObject

NodeKind = Literal[
    "object", "array", "string", "integer", "number", "boolean", "any", "int-or-string", "quantity", "time", "bytes"
]


@dataclass(slots=True)
class Node:
    """A type: `properties` of a struct, `additional` of a map (a type can have both), `items` of a list."""

    kind: NodeKind
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | None = None
    items: Node | None = None
    required: tuple[str, ...] = ()
    list_type: Literal["atomic", "set", "map"] = "atomic"
    map_keys: tuple[str, ...] = ()
    atomic: bool = False
    """Server-side apply owns the struct or map as a whole."""
    merge_key: str = ""
    """Strategic merge: key by which lists of objects merge, "" to replace them. `merge`: lists of scalars merge."""
    merge: bool = False
    preserve_unknown: bool = False
    embedded: bool = False
    nullable: bool = False
    default: Any = None
    has_default: bool = False
    rules: JsonObject | None = None
    """The OpenAPI schema of a custom resource, for value rules (enum, pattern, minimum, CEL …)."""
    int_bits: int = 64
    omitted: frozenset[str] = frozenset()
    """Scalars of a built-in struct that are no pointers in Go: JSON leaves out their zeros."""
    type_name: str = ""
    """Name of a built-in struct in Go, for messages."""

    @property
    def is_struct(self) -> bool:
        return self.kind == "object" and bool(self.properties)

    def child(self, name: str) -> Node | None:
        found = self.properties.get(name)
        return found if found is not None else self.additional


ANY = Node("any", preserve_unknown=True)


def build_from_openapi(schema: JsonObject) -> Node:
    """Return the type of a structural openAPIV3Schema. `rules` keeps all keywords."""
    if schema.get("x-kubernetes-int-or-string"):
        return Node("int-or-string", rules=schema, nullable=bool(schema.get("nullable")), **_default_of(schema))
    kind = schema.get("type", "")
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    nullable = bool(schema.get("nullable"))
    common: dict[str, Any] = {"rules": schema, "nullable": nullable, "preserve_unknown": preserve} | _default_of(schema)
    match kind:
        case "object":
            additional = schema.get("additionalProperties")
            return Node(
                "object",
                properties={name: build_from_openapi(sub) for name, sub in (schema.get("properties") or {}).items()},
                additional=build_from_openapi(additional)
                if isinstance(additional, dict)
                else (ANY if additional is True else None),
                required=tuple(schema.get("required") or ()),
                atomic=schema.get("x-kubernetes-map-type") == "atomic",
                embedded=bool(schema.get("x-kubernetes-embedded-resource")),
                **common,
            )
        case "array":
            return Node(
                "array",
                items=build_from_openapi(schema.get("items") or {}),
                list_type=schema.get("x-kubernetes-list-type", "atomic"),
                map_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
                **common,
            )
        case "string" | "integer" | "number" | "boolean":
            return Node(kind, int_bits=32 if schema.get("format") == "int32" else 64, **common)
        case _:
            return Node("any", **(common | {"preserve_unknown": True}))


def _default_of(schema: JsonObject) -> dict[str, Any]:
    return {"default": schema["default"], "has_default": True} if "default" in schema else {}


class TypeTable:
    """Built-in types by short name, built on first use. `generate_types.py` defines the format of the table."""

    def __init__(self, definitions: JsonObject) -> None:
        self._definitions = definitions
        self._nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        found = self._nodes.get(name)
        if found is not None:
            return found
        definition = self._definitions[name]
        if isinstance(definition, str):
            scalar = Node(definition)  # type: ignore[arg-type]
            self._nodes[name] = scalar
            return scalar
        node = Node(
            "object",
            required=tuple(definition.get("required", ())),
            atomic=bool(definition.get("atomic")),
            omitted=frozenset(definition.get("omit", ())),
            type_name=name.rpartition(".")[2],
        )
        self._nodes[name] = node  # before its properties: types may refer to themselves
        for prop, spec in definition.get("properties", {}).items():
            node.properties[prop] = self._build(spec)
        if not node.properties:
            node.preserve_unknown = True
        return node

    def definition(self, name: str) -> JsonObject | str:
        """Return the entry of the table: the kind of a scalar, or the properties and rules of a struct."""
        found: JsonObject | str = self._definitions[name]
        return found

    def _build(self, spec: JsonObject | str) -> Node:
        if isinstance(spec, str):
            if spec.startswith("#"):
                return self.node(spec[1:])
            if spec == "int32":
                return Node("integer", int_bits=32)
            if spec == "object":
                return Node("object", preserve_unknown=True)
            return Node(spec)  # type: ignore[arg-type]
        if "map" in spec:
            return Node("object", additional=self._build(spec["map"]), atomic=bool(spec.get("atomic")))
        if "list" in spec:
            return Node(
                "array",
                items=self._build(spec["list"]),
                list_type=spec.get("type", "atomic"),
                map_keys=tuple(spec.get("keys", ())),
                merge_key=spec.get("merge_key", ""),
                merge=bool(spec.get("merge")),
            )
        target = self._build(spec["of"])
        return Node(
            target.kind,
            properties=target.properties,
            additional=target.additional,
            required=target.required,
            atomic=bool(spec.get("atomic", target.atomic)),
            preserve_unknown=target.preserve_unknown,
            omitted=target.omitted,
            type_name=target.type_name,
        )
