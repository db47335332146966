"""JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

from devcluster.apiserver.errors import ApiError, JsonObject, bad_request, failure, unprocessable_patch
from devcluster.apiserver.schema.go_values import go_kind, go_text
from devcluster.apiserver.schema.types import Node

MAX_JSON_PATCH_OPERATIONS = 10_000


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the result of a JSON Merge Patch (RFC 7386). Changes neither argument."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: JsonObject, operations: Any) -> JsonObject:
    """Return the result of a JSON Patch (RFC 6902).

    ApiError 400 for a malformed patch; 422 without details if it does not fit the object, as on the real server.
    """
    if operations is None:
        return copy.deepcopy(target)
    if not isinstance(operations, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {go_kind(operations)} into Go value of type "
            f"[]handlers.jsonPatchOp"
        )
    if len(operations) > MAX_JSON_PATCH_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {len(operations)}",
        )
    document: Any = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request("json: cannot unmarshal a value into Go value of type jsonpatch.Operation")
        document = _apply_operation(document, operation)
    if not isinstance(document, dict):
        raise _unprocessable("the patched document is not an object")
    return document


def _unprocessable(why: str) -> ApiError:
    """Return a 422. The real server gives no details, so `why` only documents the cause in this code."""
    del why
    return unprocessable_patch()


def _apply_operation(document: Any, operation: JsonObject) -> Any:
    kind = operation.get("op")
    path = operation.get("path")
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise _unprocessable(f"invalid path {path!r}")
    match kind:
        case "add":
            return _add(document, path, copy.deepcopy(operation.get("value")))
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            if path == "":
                return copy.deepcopy(operation.get("value"))
            parent, key = _parent_of(document, path)
            if isinstance(parent, list):
                _read_child(parent, key, path)
            _write_child(parent, key, copy.deepcopy(operation.get("value")))
            return document
        case "move":
            document, value = _remove(document, str(operation.get("from", "")))
            return _add(document, path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_read(document, str(operation.get("from", "")))))
        case "test":
            if _read(document, path, missing_is_null=True) != operation.get("value"):
                raise _unprocessable(f"testing value {path} failed")
            return document
        case _:
            raise _unprocessable(f"unexpected kind of operation {kind!r}")


def _tokens(path: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def _parent_of(document: Any, path: str) -> tuple[Any, str]:
    tokens = _tokens(path)
    current = document
    for token in tokens[:-1]:
        current = _read_child(current, token, path)
    return current, tokens[-1]


def _read(document: Any, path: str, *, missing_is_null: bool = False) -> Any:
    if path == "":
        return document
    parent, key = _parent_of(document, path)
    if missing_is_null and isinstance(parent, dict) and key not in parent:
        return None
    return _read_child(parent, key, path)


def _read_child(parent: Any, key: str, path: str) -> Any:
    if isinstance(parent, dict):
        if key not in parent:
            raise _unprocessable(f"missing path: {path}")
        return parent[key]
    if isinstance(parent, list):
        return parent[_index(parent, key, len(parent) - 1)]
    raise _unprocessable(f"missing path: {path}")


def _index(parent: list[Any], key: str, last: int) -> int:
    try:
        index = int(key)
    except ValueError:
        raise _unprocessable(f"invalid array index {key!r}") from None
    if index < 0:
        index += len(parent)
    if not 0 <= index <= last:
        raise _unprocessable(f"array index {key} is out of bounds")
    return index


def _write_child(parent: Any, key: str, value: Any) -> None:
    if isinstance(parent, list):
        parent[_index(parent, key, len(parent) - 1)] = value
    else:
        parent[key] = value


def _add(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, key = _parent_of(document, path)
    if isinstance(parent, list):
        parent.insert(len(parent) if key == "-" else _index(parent, key, len(parent)), value)
    elif isinstance(parent, dict):
        parent[key] = value
    else:
        raise _unprocessable(f"missing path: {path}")
    return document


def _remove(document: Any, path: str) -> tuple[Any, Any]:
    if path == "":
        raise _unprocessable("unable to remove the whole document")
    parent, key = _parent_of(document, path)
    value = _read_child(parent, key, path)
    if isinstance(parent, list):
        del parent[_index(parent, key, len(parent) - 1)]
    else:
        del parent[key]
    return document, value


# Strategic merge patch

_DIRECTIVES = ("$patch", "$retainKeys")


def strategic_merge(target: Any, patch: JsonObject, node: Node | None) -> JsonObject:
    """Return the result of a strategic merge patch.

    Supports merge keys of lists, `$patch`, `$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`.
    """
    current: JsonObject = dict(target) if isinstance(target, dict) else {}
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise failure(500, f"unknown patch type: {directive} in map: {go_text(patch)}")
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        current = {name: value for name, value in current.items() if name in retained}
    for name, value in patch.items():
        if name in _DIRECTIVES or name.startswith("$setElementOrder/"):
            continue
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            kept = [one for one in current.get(field) or [] if one not in value]
            current[field] = kept
            continue
        if value is None:
            current.pop(name, None)
            continue
        child = node.child(name) if node is not None else None
        current[name] = _merge_value(current.get(name), value, child)
    for name, order in patch.items():
        if name.startswith("$setElementOrder/"):
            _reorder(current, name.partition("/")[2], order, node)
    return current


def _merge_value(current: Any, value: Any, node: Node | None) -> Any:
    if isinstance(value, dict):
        return strategic_merge(current, value, node)
    if isinstance(value, list) and node is not None and node.kind == "array" and node.merge:
        if node.merge_key:
            return _merge_list(current if isinstance(current, list) else [], value, node)
        merged = list(current) if isinstance(current, list) else []
        return merged + [one for one in value if one not in merged]
    return copy.deepcopy(value)


def _merge_list(current: list[Any], patch: list[Any], node: Node) -> list[Any]:
    key = node.merge_key
    if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in patch):
        return [copy.deepcopy(one) for one in patch if not (isinstance(one, dict) and one.get("$patch") == "replace")]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise failure(500, f"map: {go_text(item)} does not contain declared merge key: {key}")
        index = next((i for i, one in enumerate(result) if isinstance(one, dict) and one.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            if index is not None:
                del result[index]
        elif index is None:
            result.append(strategic_merge({}, item, node.items))
        else:
            result[index] = strategic_merge(result[index], item, node.items)
    return result


def _reorder(current: JsonObject, name: str, order: Any, node: Node | None) -> None:
    items = current.get(name)
    child = node.child(name) if node is not None else None
    if not isinstance(items, list) or not isinstance(order, list) or child is None:
        return
    key = child.merge_key

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    places = {repr(identity(one)): position for position, one in enumerate(order)}
    listed = sorted(
        (item for item in items if repr(identity(item)) in places), key=lambda item: places[repr(identity(item))]
    )
    rest = [item for item in items if repr(identity(item)) not in places]
    current[name] = listed + rest
