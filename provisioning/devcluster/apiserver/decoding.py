"""From JSON to a typed object: wrong JSON types are a 400, unknown fields are dropped with a warning or refused.

Built-in kinds are decoded as Go structs are (nulls vanish); custom resources are pruned by their schema and get its defaults, and their values
are judged later (422, `crd_rules`).
"""

from __future__ import annotations

import copy
from typing import Any

from . import errors
from .errors import JsonObject
from .quantities import QuantityError, canonical
from .resources import ResourceType, builtin_types
from .schema import ANY, Node

_GO_TYPES = {"string": "string", "boolean": "bool", "quantity": "resource.Quantity", "time": "string", "bytes": "[]uint8"}
MAX_REPORTED = 10


class _Mismatch(Exception):
    """A JSON value of the wrong type for a built-in field."""


class Decoder:
    """One walk over one body; collects the unknown fields on the way."""

    def __init__(self, kind: ResourceType) -> None:
        self.kind = kind
        self.unknown: list[str] = []

    def builtin(self, value: Any, node: Node, path: str, owner: str) -> Any:
        """`owner` is the Go struct that error texts name."""
        match node.kind:
            case "any":
                return value
            case "object":
                if not isinstance(value, dict):
                    raise _Mismatch(_text(value, owner, path, "map[string]string" if node.additional else "v1.Object"))
                if node.preserve_unknown:
                    return value
                return self._builtin_object(value, node, path)
            case "array":
                if not isinstance(value, list):
                    raise _Mismatch(_text(value, owner, path, "[]" + _go_type(node.items or ANY)))
                items = node.items or ANY
                return [
                    self.builtin(one, items, f"{path}[{index}]", owner) if one is not None else _zero(items)
                    for index, one in enumerate(value)
                ]
            case "string" | "bytes":
                if not isinstance(value, str):
                    raise _Mismatch(_text(value, owner, path, _go_type(node)))
            case "time":
                if not isinstance(value, str):
                    raise _Mismatch(_text(value, owner, path, "string"))
            case "boolean":
                if not isinstance(value, bool):
                    raise _Mismatch(_text(value, owner, path, "bool"))
            case "integer":
                if isinstance(value, float) and value.is_integer():
                    value = int(value)
                if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2 ** (node.int_bits - 1) + 1:
                    raise _Mismatch(_text(value, owner, path, _go_type(node)))
            case "number":
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise _Mismatch(_text(value, owner, path, "float64"))
            case "int-or-string" | "quantity":
                if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                    raise _Mismatch(_text(value, owner, path, _go_type(node)))
                if node.kind == "quantity":
                    return _read_quantity(value)
        return value

    def _builtin_object(self, value: JsonObject, node: Node, path: str) -> JsonObject:
        decoded: JsonObject = {}
        properties, additional = node.properties, node.additional
        for name, one in value.items():
            inner = f"{path}.{name}" if path else name
            child = properties.get(name) or additional
            if child is None:
                self.unknown.append(inner)
            elif one is None:
                if additional is not None:
                    decoded[name] = _zero(child)
            else:
                decoded[name] = self.builtin(one, child, inner, "")
        return decoded

    def custom(self, value: Any, node: Node, path: str) -> Any:
        """Prune and default one value of a custom resource. Values of a wrong type pass: validation names them."""
        if isinstance(value, dict) and node.kind in {"object", "any", "int-or-string"}:
            if node.kind != "object":
                return value
            return self._custom_object(value, node, path)
        if isinstance(value, list) and node.kind == "array" and node.items is not None:
            return [self.custom(one, node.items, f"{path}[{index}]") for index, one in enumerate(value)]
        return value

    def _custom_object(self, value: JsonObject, node: Node, path: str) -> JsonObject:
        decoded: JsonObject = {}
        for name, one in value.items():
            inner = f"{path}.{name}" if path else name
            child = node.properties.get(name) or node.additional
            if child is None:
                if node.embedded and name in {"apiVersion", "kind", "metadata"}:
                    decoded[name] = one
                elif node.preserve_unknown:
                    decoded[name] = one
                else:
                    self.unknown.append(inner)
                continue
            if one is None and not child.nullable and child.has_default:
                continue
            decoded[name] = self.custom(one, child, inner)
        for name, child in node.properties.items():
            if child.has_default and name not in decoded:
                decoded[name] = self.custom(copy.deepcopy(child.default), child, f"{path}.{name}")
        return decoded


def decode_object(body: JsonObject, kind: ResourceType, mode: str, warnings: list[str]) -> JsonObject:
    """Answers the typed object. `mode` is fieldValidation: Strict refuses unknown fields, Warn adds to `warnings`, Ignore is silent."""
    decoder = Decoder(kind)
    body.setdefault("metadata", {})
    try:
        if kind.builtin:
            decoded = decoder.builtin(body, kind.node, "", kind.kind)
        else:
            metadata = decoder.builtin(body.get("metadata", {}), builtin_types().node("meta.v1.ObjectMeta"), "metadata", "ObjectMeta")
            rest = {name: value for name, value in body.items() if name != "metadata"}
            decoded = decoder.custom(rest, kind.node, "")
            decoded["metadata"] = metadata
    except _Mismatch as error:
        prefix = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
        raise errors.bad_request(prefix + str(error)) from None
    _drop_empty_metadata(decoded["metadata"])
    if decoder.unknown and mode != "Ignore":
        texts = [f'unknown field "{one}"' for one in sorted(decoder.unknown)]
        if mode == "Strict":
            prefix = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: ' if kind.builtin else ""
            raise errors.bad_request(f"{prefix}strict decoding error: {', '.join(texts[:MAX_REPORTED])}")
        warnings += texts[:MAX_REPORTED]
    ordered: JsonObject = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": decoded["metadata"]}
    return ordered | decoded


def _drop_empty_metadata(metadata: JsonObject) -> None:
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "generateName", "namespace", "resourceVersion", "uid"):
        if name in metadata and not metadata[name]:
            del metadata[name]


def _zero(node: Node) -> Any:
    return {"string": "", "integer": 0, "boolean": False, "object": {}, "array": []}.get(node.kind)


def _go_type(node: Node) -> str:
    if node.kind == "integer":
        return f"int{node.int_bits}"
    if node.kind == "int-or-string":
        return "intstr.IntOrString"
    if node.kind == "array":
        return "[]" + _go_type(node.items or ANY)
    return _GO_TYPES.get(node.kind, "v1.Object")


def _text(value: Any, owner: str, path: str, wanted: str) -> str:
    if isinstance(value, bool):
        given = "bool"
    elif isinstance(value, (int, float)):
        given = f"number {value}" if wanted.startswith("int") else "number"
    else:
        given = {"dict": "object", "list": "array", "str": "string"}.get(type(value).__name__, "value")
    where = f"{owner}.{path}" if owner else path
    return f"json: cannot unmarshal {given} into Go struct field {where} of type {wanted}"


def _read_quantity(value: Any) -> str:
    """Canonical text; a quantity that does not parse is a 400, since it fails in the decoder."""
    try:
        return canonical(value)
    except QuantityError as error:
        raise _Mismatch(str(error)) from None
