"""Field ownership (`metadata.managedFields`) and server-side apply, after structured-merge-diff v6.

Fields are a dict of path → value. A path is a tuple of `fieldsV1` elements (`f:spec`, `k:{"name":"app"}`, `v:"x"`);
values are compared to find changes. List items and map entries have a path in addition to those of their fields.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from devcluster.apiserver.errors import ApiError, JsonObject
from devcluster.apiserver.schema.types import ANY, Node

Path = tuple[str, ...]
Fields = set[Path]

_PRESENT = object()
"""Value of a path that represents the existence of a list item, map or struct."""
_UNOWNED_META = {
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion",
}  # fmt: skip


@dataclass(slots=True)
class ManagedEntry:
    """The fields of one manager. The first four attributes identify the entry."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, str, str, str]:
        version = "" if self.operation == "Apply" else self.api_version
        return self.manager, self.operation, version, self.subresource

    def describe(self) -> str:
        text = json.dumps(self.manager)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


def key_element(item: JsonObject, node: Node) -> str:
    """Return the path element of an item of a list with keys. A port without protocol has the default, TCP."""
    keys: JsonObject = {}
    for name in node.map_keys:
        value = item.get(name)
        if value is None and name == "protocol":
            value = "TCP"
        if value is not None:
            keys[name] = value
    return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)


def collect_fields(body: JsonObject, node: Node, *, containers: bool = False) -> dict[Path, Any]:
    """Return the paths of an object with their values.

    `containers`: include the existence of maps, which updates own and applies do not.
    """
    found: dict[Path, Any] = {}
    for name, value in body.items():
        if name in {"apiVersion", "kind"}:
            continue
        child = node.child(name) or ANY
        if name == "metadata" and isinstance(value, dict):
            value = {key: one for key, one in value.items() if key not in _UNOWNED_META}
            if not value:
                continue
        path = (f"f:{name}",)
        _collect(value, child, path, found, containers)
        if value is None or value == {} or name not in node.properties:
            found.setdefault(path, _PRESENT)
    return found


def _collect(value: Any, node: Node, path: Path, found: dict[Path, Any], containers: bool) -> None:
    if isinstance(value, dict) and not node.atomic:
        if containers and (node.additional is not None or not node.type_name):
            found[path] = _PRESENT
        for name, one in value.items():
            inner = (*path, f"f:{name}")
            child = node.properties.get(name)
            _collect(one, child or node.additional or ANY, inner, found, containers)
            if one is None or one == {} or child is None:
                found.setdefault(inner, _PRESENT)
    elif isinstance(value, list) and node.kind == "array" and node.list_type != "atomic":
        items = node.items or ANY
        for one in value:
            if node.list_type == "map" and isinstance(one, dict):
                inner = (*path, key_element(one, node))
                _collect(one, items, inner, found, containers)
                found.setdefault(inner, _PRESENT)
            else:
                inner = (*path, "v:" + json.dumps(one, separators=(",", ":"), sort_keys=True))
                found[inner] = _PRESENT
    else:
        found[path] = value


@lru_cache(maxsize=2048)
def to_fields_v1(fields: frozenset[Path]) -> JsonObject:
    """Return the nested form of a set of fields. Cached, so callers must not change it."""
    root: JsonObject = {}
    for path in sorted(fields):
        level = root
        for element in path:
            level = level.setdefault(element, {})
        level["."] = {}
    return _drop_leaf_dots(root)


def _drop_leaf_dots(level: JsonObject) -> JsonObject:
    if list(level) == ["."]:
        return {}
    return {name: (inner if name == "." else _drop_leaf_dots(inner)) for name, inner in level.items()}


def from_fields_v1(level: JsonObject, path: Path = ()) -> Fields:
    if not level:
        return {path} if path else set()
    found: Fields = set()
    for name, inner in level.items():
        if name == ".":
            found.add(path)
        elif isinstance(inner, dict):
            found |= from_fields_v1(inner, (*path, name))
    return found


def read_entries(body: JsonObject) -> list[ManagedEntry]:
    entries: list[ManagedEntry] = []
    for one in body.get("metadata", {}).get("managedFields") or ():
        if not isinstance(one, dict) or "manager" not in one or not isinstance(one.get("fieldsV1"), dict):
            continue
        entries.append(
            ManagedEntry(
                one["manager"],
                one.get("operation", "Update"),
                one.get("apiVersion", ""),
                one.get("subresource", ""),
                one.get("time", ""),
                from_fields_v1(one["fieldsV1"]),
            )
        )
    return entries


def write_entries(body: JsonObject, entries: list[ManagedEntry]) -> None:
    written: list[JsonObject] = []
    for entry in sorted(entries, key=lambda one: (one.operation != "Apply", one.time, one.manager)):
        if not entry.fields:
            continue
        one: JsonObject = {
            "manager": entry.manager,
            "operation": entry.operation,
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(frozenset(entry.fields)),
        }
        if entry.subresource:
            one["subresource"] = entry.subresource
        written.append(one)
    if written:
        body["metadata"]["managedFields"] = written
    else:
        body["metadata"].pop("managedFields", None)


def record_update(
    live: JsonObject, changed: JsonObject, node: Node, *, manager: str, api_version: str, subresource: str, now: str
) -> None:
    """Record a create, update or patch in managedFields: `manager` owns the changed fields."""
    before, after = collect_fields(live, node, containers=True), collect_fields(changed, node, containers=True)
    touched = {path for path, value in after.items() if path not in before or before[path] != value}
    removed = before.keys() - after.keys()
    entries = read_entries(live)
    if not touched and not removed:
        write_entries(changed, entries)
        return
    mine = ManagedEntry(manager, "Update", api_version, subresource, now, set())
    for entry in entries:
        if entry.identity == mine.identity:
            mine.fields = entry.fields
            continue
        entry.fields = entry.fields - touched - removed
    mine.fields = (mine.fields | touched) - removed
    write_entries(changed, [one for one in entries if one.identity != mine.identity] + [mine])


def apply_configuration(
    live: JsonObject | None,
    config: JsonObject,
    node: Node,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    force: bool,
    now: str,
    ignored: tuple[str, ...],
) -> JsonObject:
    """Merge an applied configuration into the live object. Return the new object with its managedFields.

    `ignored` are top-level fields that the request can't set, such as `status` on the main resource. ApiError 409 with
    one cause for each changed field that another manager owns, unless `force` is set.
    """
    applied = {name: value for name, value in config.items() if name not in ignored}
    wanted = collect_fields(applied, node).keys()
    base: JsonObject = live if live is not None else {"metadata": {}}
    merged: JsonObject = merge_typed(base, applied, node)
    entries = read_entries(base)
    mine = ManagedEntry(manager, "Apply", api_version, subresource, now, set(wanted))
    previous = next((entry for entry in entries if entry.identity == mine.identity), None)
    others = [entry for entry in entries if entry.identity != mine.identity]
    if previous is not None:
        _prune(merged, previous.fields - mine.fields, [*others, mine], node)
    before, after = collect_fields(base, node, containers=True), collect_fields(merged, node, containers=True)
    touched = {path for path, value in after.items() if path not in before or before[path] != value}
    conflicts = [(entry, path) for entry in others for path in sorted(entry.fields & touched)]
    if conflicts and not force:
        raise conflict_error(conflicts)
    removed = before.keys() - after.keys()
    for entry in others:
        entry.fields = entry.fields - touched - removed
    if previous is not None and previous.fields == mine.fields and before == after:
        mine.time = previous.time
    write_entries(merged, [*others, mine])
    return merged


def conflict_error(conflicts: list[tuple[ManagedEntry, Path]]) -> ApiError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {entry.describe()}",
            "field": path_text(path),
        }
        for entry, path in conflicts
    ]
    if len(conflicts) == 1:
        entry, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {entry.describe()}: {path_text(path)}"
    else:
        by_manager: dict[str, list[str]] = {}
        for entry, path in conflicts:
            by_manager.setdefault(entry.describe(), []).append(f"- {path_text(path)}")
        parts = [f"conflicts with {who}:\n" + "\n".join(paths) for who, paths in sorted(by_manager.items())]
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)
    return ApiError(409, "Conflict", message, details={"causes": causes})


def path_text(path: Path) -> str:
    """Return the path as in messages: `.spec.containers[name="app"].image`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(keys.items())) + "]"
        else:
            text += f"[={rest}]"
    return text


def merge_typed(live: Any, config: Any, node: Node) -> Any:
    """Return `config` merged over `live`. Maps, lists with keys and sets are merged; other values are replaced."""
    if isinstance(live, dict) and isinstance(config, dict) and not node.atomic:
        merged = dict(live)
        for name, value in config.items():
            child = node.child(name) or ANY
            merged[name] = merge_typed(live[name], value, child) if name in live else copy.deepcopy(value)
        return merged
    if isinstance(live, list) and isinstance(config, list) and node.kind == "array" and node.list_type != "atomic":
        return _merge_lists(live, config, node)
    return copy.deepcopy(config)


def _merge_lists(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    def identity(item: Any) -> str:
        if node.list_type == "map" and isinstance(item, dict):
            return key_element(item, node)
        return json.dumps(item, sort_keys=True)

    wanted = {identity(item): item for item in config}
    existing = {identity(item) for item in live}
    merged: list[Any] = []
    for item in live:
        found = wanted.get(identity(item))
        merged.append(item if found is None else merge_typed(item, found, node.items or ANY))
    return merged + [copy.deepcopy(item) for key, item in wanted.items() if key not in existing]


def _prune(merged: JsonObject, dropped: Fields, owners: list[ManagedEntry], node: Node) -> None:
    """Remove the fields that the manager no longer applies, unless one of `owners` owns them or a part of them.

    A struct without owned fields is removed with its defaults."""
    # A configuration always contains metadata.name, which no entry records.
    kept: Fields = {("f:metadata",)}
    for entry in owners:
        for path in entry.fields:
            kept.update(path[:length] for length in range(1, len(path) + 1))
    left = {path[:length] for path in dropped for length in range(1, len(path)) if _is_property(path[:length], node)}
    for path in sorted(dropped | left, key=len):  # items before their fields: an item can't be found without its key
        if path not in kept:
            _remove_path(merged, path, node)


def _is_property(path: Path, node: Node) -> bool:
    """Return whether the path ends at a property of a struct, not at a map entry or list item."""
    for element in path[:-1]:
        kind, _, text = element.partition(":")
        node = (node.child(text) if kind == "f" else node.items) or ANY
    kind, _, text = path[-1].partition(":")
    return kind == "f" and text in node.properties


def _remove_path(container: Any, path: Path, node: Node) -> None:
    """Remove a path. Copies containers, because the merged object shares parts with the live one."""
    element, rest = path[0], path[1:]
    kind, _, text = element.partition(":")
    if kind == "f":
        if not isinstance(container, dict) or text not in container:
            return
        if not rest:
            del container[text]
            return
        container[text] = copy.copy(container[text])
        child = node.child(text) or ANY
        _remove_path(container[text], rest, child)
        if not container[text] and (child.kind == "array" or child.additional is not None):
            del container[text]  # a list or map without entries
        return
    if not isinstance(container, list):
        return
    for index, item in enumerate(container):
        if kind == "k":
            same = isinstance(item, dict) and key_element(item, node) == element
        else:
            same = "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True) == element
        if not same:
            continue
        if not rest:
            del container[index]
        else:
            container[index] = copy.copy(item)
            _remove_path(container[index], rest, node.items or ANY)
        return
