"""Type check of applied configurations: server-side apply refuses them before any other validation."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver.schema.go_values import go_text
from devcluster.apiserver.schema.typed_values import UntypedError, element_text, item_element
from devcluster.apiserver.schema.types import Node

_EXPECTED = {
    "string": "string", "bytes": "string", "time": "string", "integer": "numeric (int or float)",
    "number": "numeric (int or float)",
    "boolean": "boolean",
}  # fmt: skip


def first_fault(
    value: Any, node: Node, path: str, *, secret: bool = False, allows_duplicates: bool = False
) -> str | None:
    """Return the first type error with the message of structured-merge-diff (`.data.k: expected string, got …`).

    None if there is none. `secret`: the message contains no values. `allows_duplicates`: keys of lists may repeat.
    """
    if value is None or node.kind in {"any", "int-or-string"}:
        return None  # structured-merge-diff takes any value
    if node.kind == "object":
        return _object_fault(value, node, path, secret, allows_duplicates)
    if node.kind == "array":
        return _array_fault(value, node, path, secret, allows_duplicates)
    if _is_scalar_of(value, node.kind):
        return None
    expected = _EXPECTED.get(node.kind, "scalar")
    if expected == "string":
        shown = "<redacted>" if secret else f"&value.valueUnstructured{{Value:{go_text(value)}}}"
    else:
        shown = _kind_of(value)
    return f"{path}: expected {expected}, got {shown}"


def _is_scalar_of(value: Any, kind: str) -> bool:
    match kind:
        case "string" | "bytes" | "time":
            return isinstance(value, str)
        case "integer" | "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "quantity":
            return isinstance(value, (int, float, str, bool))
        case _:
            return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _kind_of(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
        case list():
            return "list"
        case _:
            return "map"


def _object_fault(value: Any, node: Node, path: str, secret: bool, allows_duplicates: bool) -> str | None:
    if not isinstance(value, dict):
        return f"{path}: expected map, got {'<redacted>' if secret else f'&{{{go_text(value)}}}'}"
    for name, one in value.items():
        inner = f"{path}.{name}"
        child = node.child(name)
        if child is None:
            if node.preserve_unknown or (node.embedded and name in {"apiVersion", "kind", "metadata"}):
                continue
            return f"{inner}: field not declared in schema"
        fault = first_fault(one, child, inner, secret=secret, allows_duplicates=allows_duplicates)
        if fault is not None:
            return fault
    return None


def _array_fault(value: Any, node: Node, path: str, secret: bool, allows_duplicates: bool) -> str | None:
    if not isinstance(value, list):
        return f"{path}: expected list, got {'<redacted>' if secret else f'&{{{go_text(value)}}}'}"
    seen: set[str] = set()
    for index, one in enumerate(value):
        where = f"{path}[{index}]"
        if node.list_type != "atomic":
            try:
                element = item_element(one, node)
            except UntypedError as error:
                return f"{path}: element {index}: {error}"
            where = f"{path}{element_text(element)}"
            if element in seen and not allows_duplicates:
                return f"{path}: duplicate entries for key {element_text(element)}"
            seen.add(element)
        if node.items is not None:
            fault = first_fault(one, node.items, where, secret=secret, allows_duplicates=allows_duplicates)
            if fault is not None:
                return fault
    return None
