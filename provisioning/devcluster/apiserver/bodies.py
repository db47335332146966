"""Request bodies: size, media type, JSON or YAML."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from . import errors

BODY_LIMIT = 3 * 1024 * 1024
JSON_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor")
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


def parse_object(raw: bytes, media_type: str) -> dict[str, Any]:
    """The body of a create or update; 415 for protobuf (an embedded server speaks JSON only), 400 when it does not parse."""
    if media_type in {"", "application/json", "text/json"}:
        parsed = parse_json(raw)
    elif media_type in {"application/yaml", "text/yaml"}:
        parsed = parse_yaml(raw)
    else:
        raise errors.unsupported_media_type("application/json, application/yaml", media_type)
    if not isinstance(parsed, dict):
        raise errors.bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal "
            f"{_json_name(parsed)} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; "
            'Kind string "json:\\"kind,omitempty\\"" }'
        )
    return parsed


def parse_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None


def parse_yaml(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(raw, Loader=_PlainLoader)  # noqa: S506: a SafeLoader without timestamps
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that leaves dates as text, as JSON has none."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _json_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:
            return "array"
