"""Request bodies: size limit, media types, and parsing of JSON, YAML and protobuf."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from devcluster.apiserver import errors
from devcluster.apiserver.schema import protobuf
from devcluster.apiserver.schema.go_values import go_kind
from devcluster.apiserver.schema.json_text import JsonError, load_json
from devcluster.apiserver.schema.yaml_text import YamlError, load_yaml

_NO_KIND = "couldn't get version/kind; json parse error: "
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
    """Return the body. ApiError 413 beyond 3 MiB, the limit of the real server."""
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
    """Return the body of a create or update.

    ApiError 415 for a media type other than JSON, YAML and protobuf; 400 if the body does not parse.
    """
    if media_type in {"", "application/json", "text/json"}:
        try:
            parsed = load_json(raw)
        except JsonError as error:
            raise _unrecognized(raw, kind, f"{_NO_KIND}{error}") from None
    elif media_type in {"application/yaml", "text/yaml"}:
        try:
            parsed = load_yaml(raw)
        except YamlError as error:
            raise _unrecognized(raw, kind, str(error)) from None
    elif media_type == protobuf.MEDIA_TYPE:
        try:
            parsed = protobuf.decode_object(raw)
        except protobuf.ProtobufError as error:
            raise errors.bad_request(str(error)) from None
    else:
        raise errors.unsupported_media_type()
    if not isinstance(parsed, dict):
        into = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        raise _unrecognized(
            raw, kind, f"{_NO_KIND}json: cannot unmarshal {go_kind(parsed)} into Go value of type {into}"
        )
    for name in ("apiVersion", "kind"):
        if parsed.get(name) is not None and not isinstance(parsed[name], str):
            why = (
                f"{_NO_KIND}json: cannot unmarshal {go_kind(parsed[name])} into Go struct field .{name} of type string"
            )
            raise _unrecognized(raw, kind, why)
    return parsed


def _unrecognized(raw: bytes, kind: str, why: str) -> errors.ApiError:
    """400 with the message of Go's decoder, which quotes the body: as text if it begins with `{`, else in hex.

    Long bodies are cut, since they may contain Secrets.
    """
    start = raw[:_SHOWN_BYTES]
    shown = "<empty>" if not raw else start.decode("utf-8", "replace") if raw[:1] == b"{" else start.hex()
    if len(raw) > _SHOWN_BYTES:
        shown += " ..."
    prefix = f"the object provided is unrecognized (must be of type {kind}): " if kind else ""
    suffix = f" ({shown})" if kind else ""
    return errors.bad_request(f"{prefix}{why}{suffix}")


def parse_patch(raw: bytes) -> Any:
    """Return the JSON of a patch. ApiError 400 if it does not parse."""
    try:
        return load_json(raw)
    except JsonError as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None


def parse_json(raw: bytes) -> Any:
    try:
        return load_json(raw)
    except JsonError as error:
        raise errors.bad_request(f"{_NO_KIND}{error}") from None


def parse_yaml(raw: bytes) -> Any:
    """Return the YAML of an apply. ApiError 400 if it does not parse."""
    try:
        return load_yaml(raw)
    except YamlError as error:
        raise errors.bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from None
