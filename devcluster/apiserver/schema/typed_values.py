"""Sets of fields, comparison, merge and removal by type, after `typed` of structured-merge-diff v6.

A path is a tuple of `fieldsV1` elements (`f:spec`, `k:{"name":"app"}`, `v:"x"`); a set of fields is a set of paths.
List items and map entries have a path in addition to those of their fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from devcluster.apiserver.schema.types import ANY, Node

Path = tuple[str, ...]
Fields = set[Path]
Shape = Literal["map", "list", "scalar"]

ABSENT: Any = object()
"""In the place of a value that is not there; None is an explicit null."""
_WITHOUT_KEY_DEFAULT = {"ObjectReference"}


class UntypedError(Exception):
    """The value does not fit the type, so that nothing can be said about its fields."""


@dataclass(slots=True)
class Comparison:
    """Paths that only the second value has, only the first has, and that both have with different values."""

    added: Fields = field(default_factory=set)
    removed: Fields = field(default_factory=set)
    modified: Fields = field(default_factory=set)


def _shapes(node: Node, *values: Any) -> list[Shape]:
    """Return as what to treat the values: by the type, or by the values where the type is open."""
    match node.kind:
        case "object":
            return ["map"]
        case "array":
            return ["list"]
        case "any":
            return list(dict.fromkeys(_shape_of(value) for value in values if value is not ABSENT))
        case _:
            return ["scalar"]


def _shape_of(value: Any) -> Shape:
    if isinstance(value, list):
        return "list"
    return "map" if value is None or isinstance(value, dict) else "scalar"


def _is_atomic(node: Node) -> bool:
    return node.atomic if node.kind == "object" else node.kind == "array" and node.list_type == "atomic"


def child_of(node: Node, name: str) -> Node:
    return node.child(name) or ANY


def _key_default(items: Node, key: str) -> Any:
    """Return the default of a key field of a list's items, or ABSENT."""
    child = items.properties.get(key)
    if items.rules is not None or child is None:
        return child.default if child is not None and child.has_default else ABSENT
    if items.type_name in _WITHOUT_KEY_DEFAULT:
        return ABSENT
    if key == "protocol":
        return "TCP"
    return 0 if child.kind == "integer" else ""


def item_element(item: Any, node: Node) -> str:
    """Return the path element of an item of a set or of a list with keys. Raises UntypedError if it has none."""
    if node.list_type != "map":
        if item is None or isinstance(item, dict | list):
            what = "an explicit null" if item is None else "a map type" if isinstance(item, dict) else "a list type"
            raise UntypedError(f"associative list without keys has an element that's {what}")
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(item, dict):
        what = "a null element" if item is None else "non-map elements"
        raise UntypedError(f"associative list with keys may not have {what}")
    keys = {name: item.get(name, ABSENT) for name in node.map_keys}
    for name, value in keys.items():
        if value is ABSENT:
            keys[name] = _key_default(node.items or ANY, name)
    found = {name: value for name, value in keys.items() if value is not ABSENT}
    if not found:
        names = " ".join(json.dumps(name) for name in node.map_keys)
        raise UntypedError(
            f"associative list with keys has an element that omits all key fields [{names}] "
            "(and doesn't have default values for any key fields)"
        )
    return "k:" + json.dumps(found, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def element_text(element: str) -> str:
    """Return a path element as in messages: `.image`, `[name="app"]` or `[="x"]`."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        return "[" + ",".join(f"{name}={json.dumps(one)}" for name, one in sorted(json.loads(rest).items())) + "]"
    return f"[={rest}]"


def check_typed(value: Any, node: Node) -> None:
    """Check that the fields of a value have paths. Raises UntypedError. Duplicate items are allowed."""
    if isinstance(value, dict) and node.kind == "object":
        for name, one in value.items():
            check_typed(one, child_of(node, name))
    elif isinstance(value, list) and node.kind == "array":
        for one in value:
            if node.list_type != "atomic":
                item_element(one, node)
            check_typed(one, node.items or ANY)


# Sets


def field_set(value: Any, node: Node) -> Fields:
    """Return the paths of all leaves, items and map entries of a value."""
    found: Fields = set()
    _collect(value, node, (), found)
    found.discard(())
    return found


def _collect(value: Any, node: Node, path: Path, found: Fields) -> None:
    shape = _shapes(node, value)[0]
    if shape == "scalar" or _is_atomic(node) or (shape == "list" and node.kind == "any"):
        found.add(path)
    elif shape == "list":
        elements = [item_element(one, node) for one in value or ()]
        for element, one in zip(elements, value or (), strict=True):
            inner = (*path, element)
            if elements.count(element) == 1:
                _collect(one, node.items or ANY, inner, found)
            found.add(inner)
    else:
        for name, one in (value or {}).items():
            inner = (*path, f"f:{name}")
            _collect(one, child_of(node, name), inner, found)
            if one is None or one == {} or name not in node.properties:
                found.add(inner)


def named_fields(fields: Fields, node: Node) -> Fields:
    """Return the set with those of its inner paths that end at a field of a struct."""
    found = set(fields)
    for path in fields:
        current = node
        for length, element in enumerate(path[:-1], 1):
            kind, _, text = element.partition(":")
            if kind == "f" and text in current.properties:
                found.add(path[:length])
            current = child_of(current, text) if kind == "f" else (current.items or ANY)
    return found


def without_subtrees(fields: Fields, roots: Fields) -> Fields:
    """Return the set without the paths that are in `roots` or below one of them."""
    return {path for path in fields if not any(path[:length] in roots for length in range(1, len(path) + 1))}


# Comparison


def compare(old: Any, new: Any, node: Node) -> Comparison:
    """Return the differences of two values of one type."""
    result = Comparison()
    _compare(old, new, node, (), result)
    for fields in (result.added, result.removed, result.modified):
        fields.discard(())
    return result


def _compare(old: Any, new: Any, node: Node, path: Path, result: Comparison) -> None:
    is_leaf = False
    for shape in _shapes(node, old, new):
        is_leaf = False
        if shape == "scalar" or _is_atomic(node) or (shape == "list" and node.kind == "any"):
            is_leaf = True
        elif shape == "list":
            is_leaf = not _list(old) and not _list(new)
            if not is_leaf:
                _compare_lists(_list(old), _list(new), node, path, result)
        else:
            before, after = _map(old), _map(new)
            is_leaf = not before and not after
            for name in before.keys() | after.keys():
                _compare(
                    before.get(name, ABSENT),
                    after.get(name, ABSENT),
                    child_of(node, name),
                    (*path, f"f:{name}"),
                    result,
                )
        if is_leaf and old is not ABSENT and new is not ABSENT and not _same(old, new):
            result.modified.add(path)
    if old is ABSENT:
        result.added.add(path)
    elif new is ABSENT:
        result.removed.add(path)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    return bool(one == other)


def _compare_lists(old: list[Any], new: list[Any], node: Node, path: Path, result: Comparison) -> None:
    """Compare lists with keys or sets. Items that occur more than once are compared as a whole."""
    grouped: dict[str, tuple[list[Any], list[Any]]] = {}
    for index, items in enumerate((old, new)):
        for one in items:
            grouped.setdefault(item_element(one, node), ([], []))[index].append(one)
    items_node = node.items or ANY
    for element, (before, after) in grouped.items():
        inner = (*path, element)
        if len(before) <= 1 and len(after) <= 1:
            _compare(before[0] if before else ABSENT, after[0] if after else ABSENT, items_node, inner, result)
        elif len(before) > 1 and len(after) > 1:
            if before != after:
                result.modified.add(inner)
        elif len(before) > 1:
            if after:
                _compare(ABSENT, after[0], items_node, inner, result)
            result.removed.add(inner)
        else:
            if before:
                _compare(before[0], ABSENT, items_node, inner, result)
            result.added.add(inner)


# Merge


def merge(live: Any, config: Any, node: Node) -> Any:
    """Return `config` merged over `live`; ABSENT if nothing is left. Changes neither, and shares their parts."""
    result = ABSENT
    for shape in _shapes(node, live, config):
        if shape == "scalar" or _is_atomic(node) or (shape == "list" and node.kind == "any"):
            result = live if config is ABSENT else config
        elif shape == "list":
            if not _list(live) and not _list(config):
                result = live if config is ABSENT else config
            else:
                result = _merge_lists(_list(live), _list(config), node) or ABSENT
        else:
            before, after = _map(live), _map(config)
            if not before and not after:
                result = live if config is ABSENT else config
            else:
                result = {}
                for name in [*before, *(name for name in after if name not in before)]:
                    one = merge(before.get(name, ABSENT), after.get(name, ABSENT), child_of(node, name))
                    if one is not ABSENT:
                        result[name] = one
                result = result or ABSENT
    return result


def _merge_lists(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    """Merge items by their key. Items of both lists take the order of `config`."""
    left = [item_element(one, node) for one in live]
    right = [item_element(one, node) for one in config]
    left_items = {element: (one if left.count(element) == 1 else None) for element, one in zip(left, live, strict=True)}
    right_items = dict(zip(right, config, strict=True))
    shared = [element for element in right if element in left_items]
    merged: list[Any] = []
    done: set[str] = set()

    def take(element: str, old: Any, new: Any) -> None:
        one = merge(old, new, node.items or ANY)
        if one is not ABSENT:
            merged.append(one)

    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            if left[i] == right[j]:
                done.add(left[i])
                take(left[i], left_items[left[i]], right_items[left[i]])
                i, j, shared = i + 1, j + 1, shared[1:]
                continue
            if left[i] in right_items and shared and shared[0] != left[i]:
                i += 1
                continue
        if i < len(left):
            if left[i] not in right_items:
                take(left[i], live[i], ABSENT)
                i += 1
                continue
            if left[i] in done:
                i += 1
        if j < len(right):
            done.add(right[j])
            take(right[j], left_items.get(right[j], ABSENT), right_items[right[j]])
            if shared and shared[0] == right[j]:
                shared = shared[1:]
            j += 1
    return merged


# Removal


def remove(value: Any, fields: Fields, node: Node) -> Any:
    """Return the value without the fields of a set; None for a list or map that is left empty."""
    shape = _shapes(node, value)[0]
    if shape == "scalar":
        return value
    if not value or _is_atomic(node) or (shape == "list" and node.kind == "any"):
        return None
    below: dict[str, Fields] = {}
    for path in fields:
        below.setdefault(path[0], set()).add(path[1:])
    if shape == "list":
        return _without_items(value, below, node) or None
    kept = {}
    for name, one in value.items():
        inner = below.get(f"f:{name}")
        if inner is None:
            kept[name] = one
        elif () not in inner:
            kept[name] = remove(one, inner, child_of(node, name))
    return kept or None


def _without_items(items: list[Any], below: dict[str, Fields], node: Node) -> list[Any]:
    kept = []
    for one in items:
        inner = below.get(item_element(one, node))
        if inner is None:
            kept.append(one)
        elif () not in inner:
            kept.append(remove(one, inner, node.items or ANY))
    return kept


# Empty objects of Go

_VALUE_STRUCTS: dict[str, tuple[str, ...]] = {
    "StatefulSetSpec": ("template", "updateStrategy"),
    "DeploymentSpec": ("template", "strategy"),
    "DaemonSetSpec": ("template", "updateStrategy"),
    "ReplicaSetSpec": ("template",),
    "JobSpec": ("template",),
    "CronJobSpec": ("jobTemplate",),
    "JobTemplateSpec": ("metadata", "spec"),
    "PodTemplateSpec": ("metadata", "spec"),
    "PodTemplate": ("template",),
    "NetworkPolicySpec": ("podSelector",),
    "PersistentVolumeClaimSpec": ("resources",),
    "IngressStatus": ("loadBalancer",),
    "ServiceStatus": ("loadBalancer",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "Event": ("involvedObject", "source", "regarding", "deprecatedSource"),
    "HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    "VolumeAttachmentSpec": ("source",),
}
"""Fields that are structs in Go and no pointers, so that they are never absent. Of kinds: metadata, spec and status."""


def empty_object(node: Node, *, is_kind: bool = True) -> dict[str, Any]:
    """Return the JSON of an empty object of a built-in kind, with which a new one is compared."""
    names = _VALUE_STRUCTS.get(node.type_name, ())
    if is_kind:
        names = (*names, "metadata", "spec", "status")
    empty: dict[str, Any] = {}
    for name, child in node.properties.items():
        if name in names and child.kind == "object":
            empty[name] = empty_object(child, is_kind=False)
        elif name in node.required or name in {"rules", "serviceName"}:
            empty[name] = {"string": "", "integer": 0, "boolean": False}.get(child.kind)
    return empty
