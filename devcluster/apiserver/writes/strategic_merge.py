"""Strategic merge patch, after k8s.io/apimachinery pkg/util/strategicpatch."""

from __future__ import annotations

import copy
from typing import Any

from devcluster.apiserver.errors import JsonObject, bad_request, failure, unprocessable_patch
from devcluster.apiserver.schema.go_values import go_kind, go_text
from devcluster.apiserver.schema.types import ANY, Node

_DELETE_LIST = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_RETAIN = "$retainKeys"


def strategic_merge(target: Any, patch: JsonObject, node: Node | None) -> JsonObject:
    """Return the result of a strategic merge patch. Changes neither argument.

    Supports merge keys of lists, `$patch`, `$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`. ApiError
    400, 422 or 500 for a patch that does not fit, with the status of the real server.
    """
    return _merge_map(dict(target) if isinstance(target, dict) else {}, copy.deepcopy(patch), node or ANY)


def _merge_map(original: JsonObject, patch: JsonObject, node: Node) -> JsonObject:
    original = dict(original)
    directive = patch.pop("$patch", None)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    if directive is not None:
        raise failure(500, f"unknown patch type: {directive} in map: {go_text(patch)}")
    _retain_keys(original, patch)
    _merge_ordered(original, patch, node)
    for name, value in patch.items():
        is_deletion = name.startswith(_DELETE_LIST)
        name = name.removeprefix(_DELETE_LIST)
        if value is None:
            original.pop(name, None)
        elif name not in original or go_kind(original[name]) != go_kind(value):
            if not is_deletion:
                _take(original, name, value)
        elif isinstance(value, dict):
            original[name] = _merge_map(original[name], value, node.child(name) or ANY)
        elif isinstance(value, list):
            original[name] = _merge_slice(original[name], value, node.child(name) or ANY, is_deletion)
        else:
            original[name] = value
    return original


def _take(original: JsonObject, name: str, value: Any) -> None:
    """Set a field that merges with nothing: nulls in it are dropped, and so are objects with a directive."""
    value, is_kept = _without_directives(_without_nulls(value))
    original.pop(name, None)
    if is_kept:
        original[name] = value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> tuple[Any, bool]:
    if isinstance(value, dict):
        if "$patch" in value:
            return None, False
        pairs = {name: _without_directives(one) for name, one in value.items()}
        return {name: one for name, (one, is_kept) in pairs.items() if is_kept}, True
    if isinstance(value, list):
        return [one for one, is_kept in map(_without_directives, value) if is_kept], True
    return value, True


def _retain_keys(original: JsonObject, patch: JsonObject) -> None:
    retained = patch.pop(_RETAIN, None)
    if retained is None:
        return
    directives = (_DELETE_LIST, _ORDER)
    given = [name for name, value in patch.items() if value is not None and not name.startswith(directives)]
    if not isinstance(retained, list) or any(name not in retained for name in given):
        raise bad_request("invalid patch format of retainKeys")
    for name in [*original]:
        if name not in retained:
            del original[name]


def _merge_ordered(original: JsonObject, patch: JsonObject, node: Node) -> None:
    """Merge the lists that have a `$setElementOrder`, and remove them from the patch."""
    for directive in [name for name in patch if name.startswith(_ORDER)]:
        order, name = patch.pop(directive), directive.removeprefix(_ORDER)
        child = node.child(name) or ANY
        live, wanted = original.get(name), patch.pop(name, None)
        for one in (order, live, wanted):
            if one is not None and not isinstance(one, list):
                raise failure(500, f"expected a []interface {{}}, but received a {go_kind(one)}")
        if order is None or (live is None and wanted is None):
            continue
        if wanted is None:
            merged = live or []
        else:
            merged = _without_directives(wanted)[0] if live is None else _merge_slice(live, wanted, child, False)
        original[name] = _in_order(merged, order, live or [], child.merge_key)


def _merge_slice(original: list[Any], patch: list[Any], node: Node, is_deletion: bool) -> list[Any]:
    if not node.merge and not is_deletion:
        return patch
    if not original and not patch:
        return original
    kinds = {go_kind(one) for one in [*original, *patch]}
    if "array" in kinds:
        raise unprocessable_patch()
    if len(kinds) > 1:
        raise failure(500, "list element types are not identical")
    if is_deletion:
        return [one for one in original if one not in patch]
    key = node.merge_key
    if kinds != {"object"}:
        merged = [*original]
        merged += [one for index, one in enumerate(patch) if one not in original and one not in patch[:index]]
        return _in_order(merged, patch, original, "")
    if not key:
        raise failure(500, "cannot merge lists without merge key")
    original, patch = _apply_directives(original, patch, key)
    merged = list(original)
    for item in patch:
        if key not in item:
            raise _no_merge_key(item, key)
        index = _index(merged, item[key], key)
        if index < 0:
            merged.append(item)
        else:
            merged[index] = _merge_map(merged[index], item, node.items or ANY)
    return _in_order(merged, patch, original, key)


def _apply_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out the items with `$patch`. Return the original and the other items."""
    plain: list[Any] = []
    is_replaced = False
    for item in patch:
        match item.get("$patch"):
            case None:
                plain.append(item)
            case "delete":
                if key not in item:
                    raise _no_merge_key(item, key)
                original = [one for one in original if not (key in one and one[key] == item[key])]
            case "replace":
                is_replaced = True
            case "merge":
                raise failure(500, "merging lists cannot yet be specified in the patch")
            case other:
                raise failure(500, f"unknown patch type: {other} in map: {go_text(item)}")
    return ([], plain) if is_replaced else (original, plain)


def _in_order(merged: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """Sort the items of the patch by `order`, and put the others where they are in the live list."""
    if key:
        for item in merged:
            if not isinstance(item, dict) or key not in item:
                raise _no_merge_key(item, key)

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(one) for one in order]
    before = [identity(one) for one in live]
    ours = sorted((one for one in merged if identity(one) in wanted), key=lambda one: wanted.index(identity(one)))
    others = [one for one in merged if identity(one) not in wanted]
    result: list[Any] = []
    while ours and others:
        one, other = identity(ours[0]), identity(others[0])
        is_first = one in before and other in before and before.index(other) < before.index(one)
        result.append(others.pop(0) if is_first else ours.pop(0))
    return result + ours + others


def _index(items: list[Any], value: Any, key: str) -> int:
    return next((index for index, one in enumerate(items) if key in one and one[key] == value), -1)


def _no_merge_key(item: Any, key: str) -> Exception:
    return failure(500, f"map: {go_text(item)} does not contain declared merge key: {key}")
