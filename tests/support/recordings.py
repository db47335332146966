"""The recorded writes of the real KubeBlocks operator, and the writes of a stand-in in the same form.

A write is the merge patch from one version of an object to the next, without times, uids and what the panel adds.
Conditions are a mapping by type.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

FOLDER = Path(__file__).resolve().parents[1] / "data" / "kubeblocks_1_0_2"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NO_TIME = "0001"
_PARTS = ("metadata", "spec", "status")
_OWN = (
    "name",
    "namespace",
    "creationTimestamp",
    "uid",
    "resourceVersion",
    "managedFields",
    "deletionGracePeriodSeconds",
)


@dataclass(frozen=True)
class Write:
    """One write. `change` is None for the end of the object. `t` is in seconds, for recorded ones."""

    kind: str
    name: str
    change: Object | None
    t: float = 0.0


def recorded_writes() -> list[Write]:
    lines = (FOLDER / "writes.jsonl").read_text().splitlines()
    return [Write(one["kind"], one["name"], one.get("change"), one["t"]) for one in map(json.loads, lines)]


def namespace_of(name: str) -> str:
    """Return the namespace in which an object was recorded."""
    lines = map(json.loads, (FOLDER / "writes.jsonl").read_text().splitlines())
    return str(next(one["namespace"] for one in lines if one["name"] == name))


def writes_of(events: Iterable[Object]) -> list[Write]:
    """Return the writes of watch events, in their order."""
    known: dict[tuple[str, str], Object] = {}
    found: list[Write] = []
    for event in events:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            continue
        item = event["object"]
        key = (item["kind"], item["metadata"]["name"])
        if event["type"] == "DELETED":
            found.append(Write(*key, None))
            known.pop(key, None)
            continue
        shape = _shape(item)
        change = _diff(known.get(key, {}), shape)
        if change or key not in known:
            found.append(Write(*key, change))
        known[key] = shape
    return found


def _shape(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _OWN}
    for part, own in (("labels", "controlpanel"), ("annotations", "controlpanel.")):
        values = metadata.pop(part, None) or {}
        kept = {key: value for key, value in values.items() if not key.startswith("controlpanel.") and value != own}
        if kept:
            metadata[part] = {key: "<uid>" if "uid" in key else value for key, value in kept.items()}
    if "ownerReferences" in metadata:
        metadata["ownerReferences"] = [
            {"kind": owner["kind"], "name": owner["name"], "controller": owner.get("controller")}
            for owner in metadata["ownerReferences"]
        ]
    shape = {"metadata": metadata, **{part: item[part] for part in _PARTS[1:] if part in item}}
    if item["kind"] == "Secret":
        shape = {"metadata": metadata, "keys": sorted(item.get("data") or {})}
    if item["kind"] in ("Component", "InstanceSet"):
        shape.pop("spec", None)  # not recorded
    plain: Object = _plain(shape)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _by_type(part) if key == "conditions" else _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, str) and _TIME.fullmatch(value) and not value.startswith(_NO_TIME):
        return "<time>"
    return value


def _by_type(conditions: list[Object]) -> Object:
    left_out = ("type", "lastTransitionTime")
    return {one["type"]: {key: part for key, part in one.items() if key not in left_out} for one in conditions}


def _diff(old: Any, new: Any) -> Any:
    """Return the merge patch from one value to another."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    changed = {
        key: _diff(old[key], value) if key in old else value for key, value in new.items() if old.get(key) != value
    }
    return {**changed, **dict.fromkeys(old.keys() - new.keys())}


# --- tolerances ---


@dataclass(frozen=True)
class Comparison:
    """Makes writes comparable by the rules of tolerances.yaml."""

    rules: tuple[Object, ...]

    @classmethod
    def load(cls) -> "Comparison":
        return cls(tuple(yaml.safe_load((FOLDER / "tolerances.yaml").read_text())))

    def values(self, writes: Iterable[Write], kind: str, name: str, path: str) -> list[Any]:
        """Return the values that a field of an object has had; None while there is none."""
        state: Object = {}
        values: list[Any] = [None]
        for write in writes:
            if (write.kind, write.name) == (kind, name) and write.change is not None:
                state = _merge(state, write.change)
                if _find(state, path) != values[-1]:
                    values.append(_find(state, path))
        return values

    def changes(self, writes: Iterable[Write], kind: str, name: str) -> list[Object | None]:
        """Return what the writes of one object change, without what is not compared."""
        rules = [rule for rule in self.rules if rule["kind"] == kind and rule.get("name", name) == name]
        state: Object = {}
        compared: Object = {}
        before: Object = {}
        is_joined = False
        changes: list[Object | None] = []
        for write in writes:
            if (write.kind, write.name) != (kind, name) or any(_is_within(write, rule) for rule in rules):
                continue
            if write.change is None:
                changes.append(None)
                continue
            state = _merge(state, write.change)
            if any(_has(state, rule["skip"]) for rule in rules if "skip" in rule):
                continue
            kept = state
            is_joined, was_joined = any(_has(state, rule["join"]) for rule in rules if "join" in rule), is_joined
            if is_joined and was_joined:
                changes.pop()
                compared = before
            for path in [path for rule in rules for path in rule.get("ignore", ())]:
                kept = _without(kept, _split(path))
            before = compared
            if change := _diff(compared, kept):
                changes.append(change)
            compared = kept
        return [compared] if any(rule.get("together") for rule in rules) else changes


def _is_within(write: Write, rule: Object) -> bool:
    start, end = rule.get("without", (0.0, 0.0))
    return bool(start < write.t < end)


def _split(path: str) -> list[str]:
    """Return the keys of a dotted path; what follows `annotations` is one key."""
    head, found, key = path.partition(".annotations.")
    return [*head.split("."), "annotations", key] if found else path.split(".")


def _find(change: Object, path: str) -> Any:
    value: Any = change
    for key in _split(path):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _has(change: Object, wanted: Object) -> bool:
    return all(_find(change, path) == value for path, value in wanted.items())


def _without(change: Object, keys: list[str]) -> Object:
    """Return a copy without the field; mappings that become empty go, too."""
    result: Object = {}
    for key, value in change.items():
        if not fnmatchcase(key, keys[0]):
            result[key] = value
        elif len(keys) > 1 and isinstance(value, dict):
            if (rest := _without(value, keys[1:])) or not value:
                result[key] = rest
        elif len(keys) > 1:
            result[key] = value
    return result


def _merge(value: Any, patch: Any) -> Any:
    """Return a value with a merge patch."""
    if not isinstance(value, dict) or not isinstance(patch, dict):
        return patch
    merged = {**value, **{key: _merge(value.get(key), part) for key, part in patch.items()}}
    return {key: part for key, part in merged.items() if part is not None}


def until(writes: Iterable[Write], t: float) -> Iterator[Write]:
    """Yield the writes before the moment `t` of the recording."""
    return (write for write in writes if write.t < t)
