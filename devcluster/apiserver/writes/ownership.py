"""Field ownership (`metadata.managedFields`) and server-side apply, after structured-merge-diff v6.

`typed_values` has the sets of fields and the merge; this module says who owns what after a write.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from devcluster.apiserver.errors import ApiError, JsonObject, failure
from devcluster.apiserver.schema import decoding, type_check, typed_values
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.schema.typed_values import Comparison, Fields, Path, UntypedError
from devcluster.apiserver.schema.types import Node

_UNOWNED: Fields = {
    ("f:apiVersion",), ("f:kind",), ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
            "resourceVersion",
        )
    ),
}  # fmt: skip
_BEFORE_FIRST_APPLY = "before-first-apply"
"""Manager of the fields of an object without managedFields at its first apply."""


_ON_STATUS: dict[str, frozenset[Path]] = {
    "pods": frozenset(
        {("f:spec",), ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")},
    ),
    "deployments.apps": frozenset({("f:spec",), ("f:metadata", "f:labels")}),
    "customresourcedefinitions.apiextensions.k8s.io": frozenset({("f:spec",), ("f:metadata",)}),
}
"""Roots of the fields that updates of /status can't set, where that is more than spec."""


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


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, to what and when. `reset` are the roots of the fields that the request can't set."""

    name: str
    api_version: str
    subresource: str
    now: str
    reset: frozenset[Path] = frozenset()

    def entry(self, operation: str, fields: Fields) -> ManagedEntry:
        return ManagedEntry(self.name, operation, self.api_version, self.subresource, self.now, fields)

    def own(self, fields: Fields) -> Fields:
        return typed_values.without_subtrees(fields, set(self.reset)) if self.reset else fields


def reset_fields(kind: ResourceType, subresource: str) -> frozenset[Path]:
    """Return the roots of the fields that a write to the resource or its subresource can't set."""
    if subresource == "status":
        if not kind.builtin:
            return frozenset({("f:spec",), ("f:metadata",)})
        return _ON_STATUS.get(kind.table, frozenset({("f:spec",)}))
    return frozenset({("f:status",)}) if kind.has_status else frozenset()


def empty_object(kind: ResourceType) -> JsonObject:
    """Return the object with which a new one is compared."""
    empty = typed_values.empty_object(kind.node) if kind.builtin else {}
    return {**empty, "metadata": {}, "apiVersion": kind.api_version, "kind": kind.kind}


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
    """Return the entries of an object; none if one is invalid. Of several with one identity, the last counts."""
    entries: dict[tuple[str, str, str, str], ManagedEntry] = {}
    for one in (body.get("metadata") or {}).get("managedFields") or ():
        if (
            not isinstance(one, dict)
            or one.get("operation") not in {"Apply", "Update"}
            or not one.get("apiVersion")
            or one.get("fieldsType") != "FieldsV1"
        ):
            return []
        entry = ManagedEntry(
            one.get("manager", ""),
            one["operation"],
            one["apiVersion"],
            one.get("subresource", ""),
            one.get("time", ""),
            from_fields_v1(one.get("fieldsV1") or {}),
        )
        entries[entry.identity] = entry
    return list(entries.values())


def write_entries(body: JsonObject, entries: list[ManagedEntry]) -> None:
    written: list[JsonObject] = []
    for entry in sorted(entries, key=lambda one: (one.operation, one.time, one.manager, one.api_version)):
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
        if not entry.time:
            del one["time"]
        if entry.subresource:
            one["subresource"] = entry.subresource
        written.append(one)
    if written:
        body["metadata"]["managedFields"] = written
    else:
        body["metadata"].pop("managedFields", None)


def record_update(live: JsonObject, changed: JsonObject, kind: ResourceType, manager: Manager) -> None:
    """Set the managedFields of `changed` after a create, update or patch: the manager owns the changed fields.

    An object without managedFields stays so. An object whose fields have no paths loses them.
    """
    given = changed["metadata"].pop("managedFields", None)
    entries = read_entries(live)
    if not manager.subresource and given is not None:
        is_reset = given in ([], [{}])
        entries = [] if is_reset else (read_entries({"metadata": {"managedFields": given}}) or entries)
    if not entries and live["metadata"].get("uid"):
        return
    node = kind.node
    new = decoding.omit_empty(changed, node, in_lists=False) if kind.builtin else changed
    if not kind.builtin and type_check.first_fault(new, node, "", allows_duplicates=True) is not None:
        return
    try:
        typed_values.check_typed(new, node)
        typed_values.check_typed(live, node)
        write_entries(changed, _updated(live, new, node, entries, manager))
    except UntypedError:
        return


def _updated(
    live: JsonObject, changed: JsonObject, node: Node, entries: list[ManagedEntry], manager: Manager
) -> list[ManagedEntry]:
    """Return the entries after an update, which takes the fields that it changes from their owners."""
    comparison = typed_values.compare(live, changed, node)
    touched = comparison.added | comparison.modified
    left = _release(entries, comparison, manager)
    fields = manager.own(touched) - _UNOWNED
    if not fields:
        return left
    mine = manager.entry("Update", fields)
    previous = next((entry for entry in left if entry.identity == mine.identity), None)
    if previous is not None:
        mine.fields = mine.fields | previous.fields
    return [*(entry for entry in left if entry is not previous), mine]


def _release(entries: list[ManagedEntry], comparison: Comparison, manager: Manager) -> list[ManagedEntry]:
    """Take changed and removed fields from their owners. Entries without fields go."""
    gone = manager.own(comparison.added | comparison.modified | comparison.removed)
    for entry in entries:
        entry.fields = entry.fields - gone
    return [entry for entry in entries if entry.fields]


def apply_configuration(
    live: JsonObject | None, config: JsonObject, node: Node, manager: Manager, *, empty: JsonObject, force: bool
) -> JsonObject:
    """Merge an applied configuration into the live object, or into an `empty` one. Return it with its managedFields.

    ApiError 409 with one cause for each changed field that another manager owns, unless `force` is set; 500 if the
    fields of the live object have no paths.
    """
    try:
        typed_values.check_typed(live, node)
    except UntypedError as error:
        raise failure(500, f"failed to create typed live object: {error}") from None
    base: JsonObject = live if live is not None else empty
    entries = read_entries(base)
    if not entries and live is not None:
        first = Manager(_BEFORE_FIRST_APPLY, manager.api_version, manager.subresource, manager.now, manager.reset)
        entries = _updated(empty, live, node, [], first)
    merged: JsonObject = typed_values.merge(base, config, node)
    mine = manager.entry("Apply", manager.own(typed_values.field_set(config, node)))
    previous = next((entry for entry in entries if entry.identity == mine.identity), None)
    others = [entry for entry in entries if entry is not previous]
    if previous is not None and previous.fields:
        merged = _prune(merged, previous.fields, [*others, mine], node)
    comparison = typed_values.compare(base, merged, node)
    touched = manager.own(comparison.added | comparison.modified)
    conflicts = [(entry, path) for entry in others for path in sorted(entry.fields & touched)]
    if conflicts and not force:
        raise conflict_error(conflicts)
    others = _release(others, comparison, manager)
    mine.fields = mine.fields - _UNOWNED
    if live is not None and merged == live:
        merged = live
        mine.time = "" if previous is None else previous.time
    merged = {**merged, "metadata": dict(merged.get("metadata") or {})}
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
    return "".join(map(typed_values.element_text, path))


def _prune(merged: JsonObject, last: Fields, owners: list[ManagedEntry], node: Node) -> JsonObject:
    """Remove the fields that the manager applied last time, unless one of `owners` owns them.

    Items and fields that the manager did not own itself come back with what is left of their parents.
    """
    named_last = typed_values.named_fields(last, node)
    pruned = typed_values.remove(merged, named_last, node)
    everything = typed_values.named_fields(typed_values.field_set(merged, node), node)
    managed = typed_values.named_fields(set().union(*(entry.fields for entry in owners)), node)

    def left_of(value: Any) -> Fields:
        return typed_values.named_fields(typed_values.field_set(value, node), node)

    pruned = typed_values.remove(merged, everything - (left_of(pruned) | managed), node)
    kept: JsonObject = typed_values.remove(merged, (everything - left_of(pruned)) & named_last, node)
    return copy.copy(kept)
