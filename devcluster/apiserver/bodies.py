"""Request bodies: size, media type, JSON or YAML."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from . import errors
from .patching import go_kind

_SHOWN_BYTES = 30
BODY_LIMIT = 3 * 1024 * 1024
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
)


async def read_bytes(request: web.Request) -> bytes:
    """413 beyond 3 MiB, as the real server limits resource requests."""
    if request.content_length is not None and request.content_length > BODY_LIMIT:
        raise errors.too_large(BODY_LIMIT)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_chunked(256 * 1024):
        size += len(chunk)
        if size > BODY_LIMIT:
            raise errors.too_large(BODY_LIMIT)
        chunks.append(chunk)
    return b"".join(chunks)


def media_type_of(request: web.Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def parse_object(raw: bytes, media_type: str, kind: str = "") -> dict[str, Any]:
    """The body of a create or update.

    415 for protobuf (an embedded server speaks JSON only), 400 when it does not parse.
    """
    if media_type in {"", "application/json", "text/json"}:
        try:
            parsed = load_json(raw)
        except JsonError as error:
            raise _unrecognized(raw, kind, str(error)) from None
    elif media_type in {"application/yaml", "text/yaml"}:
        parsed = parse_yaml(raw)
    else:
        raise errors.unsupported_media_type()
    if not isinstance(parsed, dict):
        into = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        raise _unrecognized(raw, kind, f"json: cannot unmarshal {go_kind(parsed)} into Go value of type {into}")
    for name in ("apiVersion", "kind"):
        if parsed.get(name) is not None and not isinstance(parsed[name], str):
            why = f"json: cannot unmarshal {go_kind(parsed[name])} into Go struct field .{name} of type string"
            raise _unrecognized(raw, kind, why)
    return parsed


class JsonError(ValueError):
    """The text is not JSON; the message is close to what Go's decoder says."""


class Repeated(dict[str, Any]):
    """A JSON object that names a key more than once; the last value won."""

    repeated: tuple[str, ...] = ()


def load_json(raw: bytes) -> Any:
    """Like json.loads, but refuses NaN and Infinity and marks objects with repeated keys (`Repeated`)."""
    if not raw.strip():
        raise JsonError("unexpected end of JSON input")
    try:
        return json.loads(raw, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise JsonError("invalid UTF-8 in JSON text") from None
    except json.JSONDecodeError as error:
        raise JsonError(_go_syntax_error(error)) from None
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except ValueError as error:
        raise JsonError(str(error)) from None


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) == len(pairs):
        return built
    names = [name for name, _ in pairs]
    marked = Repeated(built)
    marked.repeated = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
    return marked


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"invalid character '{text[0]}' looking for beginning of value")


def _go_syntax_error(error: json.JSONDecodeError) -> str:
    text, position = error.doc, error.pos
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    if position >= len(text):
        return "unexpected end of JSON input"
    where = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting value": "looking for beginning of value",
        "Extra data": "after top-level value",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
    }.get(error.msg, "in string literal")
    return f"invalid character '{text[position]}' {where}"


def _unrecognized(raw: bytes, kind: str, why: str) -> errors.ApiError:
    """The decoder's own words; it shows the body as text when it looks like an object, else in hex.

    Long bodies are cut: they may hold Secrets.
    """
    start = raw[:_SHOWN_BYTES]
    shown = "<empty>" if not raw else start.decode("utf-8", "replace") if raw[:1] == b"{" else start.hex()
    if len(raw) > _SHOWN_BYTES:
        shown += " ..."
    prefix = f"the object provided is unrecognized (must be of type {kind}): " if kind else ""
    suffix = f" ({shown})" if kind else ""
    return errors.bad_request(f"{prefix}couldn't get version/kind; json parse error: {why}{suffix}")


def parse_patch(raw: bytes) -> Any:
    """The JSON of a patch; 400 when it does not parse."""
    try:
        return load_json(raw)
    except JsonError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None


def parse_json(raw: bytes) -> Any:
    try:
        return load_json(raw)
    except JsonError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def parse_yaml(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(raw, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader with less  # nosec B506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that leaves dates as text, as JSON has none."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
