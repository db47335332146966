"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386)."""

from __future__ import annotations

import copy
from typing import Any

from devcluster.apiserver.errors import ApiError, JsonObject, bad_request, unprocessable_patch
from devcluster.apiserver.schema.go_values import go_kind

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
    elif isinstance(parent, dict):
        parent[key] = value
    else:
        raise _unprocessable("the parent is neither a list nor an object")


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
