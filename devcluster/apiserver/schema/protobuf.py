"""Decode built-in objects that clients send as protobuf (`application/vnd.kubernetes.protobuf`).

kubectl sends the objects that it builds itself as protobuf, such as access reviews and `kubectl create secret`.
Responses are JSON, which these clients accept too. Empty fields are dropped where Go's JSON has omitempty.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.json_text import replace_surrogates

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DEPTH = 100


class ProtobufError(ValueError):
    """The bytes are no object in the protobuf format of Kubernetes. The message does not quote them."""


class Field(NamedTuple):
    """A field of a message. `container` is "" for a single value, "[]" for a list, "{}" for a map with string keys."""

    name: str
    kind: str
    container: str
    is_pointer: bool
    is_inline: bool


@cache
def _messages() -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("protobuf_fields.json").read_text())
    return tables


@cache
def _fields_of(message: str) -> dict[int, Field]:
    return {int(number): _read_field(text) for number, text in _messages()[message].items()}


def _read_field(text: str) -> Field:
    name, _, kind = text.rpartition(":")
    container = name[-2:] if name.endswith(("[]", "{}")) else ""
    name = name.removesuffix(container)
    return Field(name.rstrip("*^"), kind, container, name.endswith("*"), name.endswith("^"))


def decode_object(raw: bytes) -> JsonObject:
    """Return the object, with apiVersion and kind. ProtobufError if it can't be decoded."""
    if not raw.startswith(_MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00")
    envelope = {number: value for number, value in _read_wire(raw[len(_MAGIC) :]) if isinstance(value, bytes)}
    head = {number: value for number, value in _read_wire(envelope.get(1, b"")) if isinstance(value, bytes)}
    api_version, kind = _text(head.get(1, b"")), _text(head.get(2, b""))
    message = _message_of(api_version, kind)
    if message is None:
        raise ProtobufError(f'no kind "{kind}" of version "{api_version}" is known in protobuf')
    body = _decode_message(message, envelope.get(2, b""), _MAX_DEPTH)
    return {"apiVersion": api_version, "kind": kind, **body}


def _message_of(api_version: str, kind: str) -> str | None:
    """Return the name of a message; None if it is unknown. Request options belong to every group."""
    group, _, version = api_version.rpartition("/")
    package = group.partition(".")[0] or "core"
    for name in (f"{package}.{version}.{kind}", f"meta.v1.{kind}"):
        if name in _messages():
            return name
    return None


def _read_wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers and raw values: integers for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        match key & 7:
            case 0:
                value, at = _read_varint(data, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _read_varint(data, at)
            case 5:
                size = 4
            case _:
                raise ProtobufError("illegal wireType")
        if at + size > len(data):
            raise ProtobufError("unexpected EOF")
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ProtobufError("unexpected EOF")
        if shift >= 64:
            raise ProtobufError("integer overflow")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value & (1 << 64) - 1, at


def _decode_message(message: str, data: bytes, depth: int) -> Any:
    if depth == 0:
        raise ProtobufError("exceeded max depth")
    special = _SPECIAL.get(message)
    if special is not None:
        return special(dict(_read_wire(data)))
    fields = _fields_of(message)
    if [field.name for field in fields.values()] == [""]:  # a named list or map of Go
        (field,) = fields.values()
        built: JsonObject = {}
        for _, value in _read_wire(data):
            _add(built, field, value, depth)
        return built.get("", [] if field.container == "[]" else {})
    body: JsonObject = {}
    for number, value in _read_wire(data):
        if number not in fields:
            continue
        field = fields[number]
        if field.is_inline:
            body |= _decode_message(field.kind, _bytes(value), depth - 1)
        else:
            _add(body, field, value, depth)
    return body


def _add(body: JsonObject, field: Field, value: int | bytes, depth: int) -> None:
    match field.container:
        case "[]":
            body.setdefault(field.name, []).append(_decode_value(field.kind, value, depth))
        case "{}":
            entry = dict(_read_wire(_bytes(value)))
            key = _text(_bytes(entry.get(1, b"")))
            inner = entry.get(2, b"" if field.kind not in _NUMBERS else 0)
            body.setdefault(field.name, {})[key] = _decode_value(field.kind, inner, depth)
        case _:
            decoded = _decode_value(field.kind, value, depth)
            if field.is_pointer or decoded or decoded == {}:
                body[field.name] = decoded


def _decode_value(kind: str, value: int | bytes, depth: int) -> Any:
    if kind in _NUMBERS:
        return _NUMBERS[kind](value)
    match kind:
        case "string":
            return _text(_bytes(value))
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case _:
            return _decode_message(kind, _bytes(value), depth - 1)


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ProtobufError("wrong wireType")
    return value


def _text(value: bytes) -> str:
    return replace_surrogates(value.decode("utf-8", "surrogateescape"))


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ProtobufError("wrong wireType")
    return value - (1 << 64) if value >= 1 << 63 else value


def _double(value: int | bytes) -> float:
    data = _bytes(value)
    if len(data) != 8:
        raise ProtobufError("wrong wireType")
    return float(struct.unpack("<d", data)[0])


_NUMBERS: dict[str, Callable[[int | bytes], Any]] = {
    "bool": lambda value: bool(_signed(value)),
    "int32": _signed,
    "int64": _signed,
    "uint32": _signed,
    "uint64": _signed,
    "double": _double,
}

# Types whose JSON is not that of a struct

Wire = dict[int, int | bytes]


def _time(wire: Wire, *, is_micro: bool = False) -> str | None:
    if not wire:
        return None
    seconds, nanos = _signed(wire.get(1, 0)), _signed(wire.get(2, 0))
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ProtobufError("a time is out of range") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if is_micro else "%Y-%m-%dT%H:%M:%SZ")


def _raw_json(wire: Wire) -> Any:
    raw = _bytes(wire.get(1, b""))
    try:
        return json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        raise ProtobufError("an embedded object is not JSON") from None


def _int_or_string(wire: Wire) -> int | str:
    return _text(_bytes(wire.get(3, b""))) if wire.get(1) else _signed(wire.get(2, 0))


_SPECIAL: dict[str, Callable[[Wire], Any]] = {
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": lambda wire: _time(wire, is_micro=True),
    "meta.v1.FieldsV1": _raw_json,
    "apimachinery.pkg.runtime.RawExtension": _raw_json,
    "apimachinery.pkg.api.resource.Quantity": lambda wire: _text(_bytes(wire.get(1, b"0"))),
    "apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
}
