"""From JSON to a typed object: wrong JSON types are a 400, unknown fields are dropped with a warning or refused.

Built-in kinds are decoded as Go structs are (nulls vanish); custom resources are pruned by their schema and get its
defaults, and their values
are judged later (422, `crd_rules`).
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from typing import Any

from . import errors
from .bodies import Repeated
from .errors import JsonObject
from .patching import go_kind
from .quantities import QuantityError, canonical
from .resources import ResourceType, builtin_types
from .schema import ANY, Node

_GO_TYPES = {
    "string": "string",
    "boolean": "bool",
    "quantity": "resource.Quantity",
    "time": "string",
    "bytes": "[]uint8",
}
_GO_ZERO: dict[str, Any] = {
    "string": "", "bytes": "", "quantity": "0", "integer": 0, "int-or-string": 0, "number": 0, "boolean": False,
    "object": {}, "array": [],
}  # fmt: skip
_MICRO_TIMES = {"renewTime", "acquireTime", "eventTime"}
MAX_REPORTED = 10


class DecodeError(Exception):
    """The text of Go's decoder, without the prefix that names the kind. `strict`.

    Only unknown or repeated fields are wrong.
    """

    def __init__(self, text: str, *, strict: bool = False, types: tuple[str, str] = ("", "")) -> None:
        super().__init__(text)
        self.text = text
        self.strict = strict
        self.types = types
        """JSON type given and Go type wanted, of a mismatch."""


class Decoder:
    """One walk over one body; collects the unknown and repeated fields on the way."""

    def __init__(self, *, defaults: bool = True) -> None:
        self.complaints: list[str] = []
        self._defaults = defaults

    def builtin(self, value: Any, node: Node, path: str, owner: str) -> Any:
        """`owner` is the Go struct that holds the field, for error texts."""
        match node.kind:
            case "any":
                return value
            case "object":
                if not isinstance(value, dict):
                    raise _mismatch(value, owner, path, _go_type(node))
                if node.preserve_unknown:
                    return value
                return self._builtin_object(value, node, path, owner)
            case "array":
                if not isinstance(value, list):
                    raise _mismatch(value, owner, path, _go_type(node))
                items = node.items or ANY
                return [
                    self.builtin(one, items, f"{path}[{index}]", owner) if one is not None else _GO_ZERO.get(items.kind)
                    for index, one in enumerate(value)
                ]
            case _:
                return _decode_scalar(value, node, path, owner)

    def _builtin_object(self, value: JsonObject, node: Node, path: str, owner: str) -> JsonObject:
        self._note_repeated(value, path)
        decoded: JsonObject = {}
        properties, additional = node.properties, node.additional
        owner = node.type_name or owner
        for name, one in value.items():
            inner = f"{path}.{name}" if path else name
            child = properties.get(name)
            if child is None and additional is not None:
                decoded[name] = (
                    _GO_ZERO.get(additional.kind) if one is None else self.builtin(one, additional, path, owner)
                )
            elif child is None:
                self.complaints.append(f'unknown field "{inner}"')
            elif one is not None:
                decoded[name] = self.builtin(one, child, inner, owner)
        return decoded

    def custom(self, value: Any, node: Node, path: str) -> Any:
        """Prune and default one value of a custom resource. Values of a wrong type pass: validation names them."""
        if isinstance(value, dict) and node.kind == "object":
            return self._custom_object(value, node, path)
        if isinstance(value, list) and node.kind == "array" and node.items is not None:
            return [self.custom(one, node.items, f"{path}[{index}]") for index, one in enumerate(value)]
        return value

    def _custom_object(self, value: JsonObject, node: Node, path: str) -> JsonObject:
        self._note_repeated(value, path)
        decoded: JsonObject = {}
        for name, one in value.items():
            inner = f"{path}.{name}" if path else name
            child = node.properties.get(name) or node.additional
            if child is None:
                if node.preserve_unknown or (node.embedded and name in {"apiVersion", "kind", "metadata"}):
                    decoded[name] = one
                else:
                    self.complaints.append(f'unknown field "{inner}"')
                continue
            if one is None and not child.nullable and child.kind != "any":
                continue
            decoded[name] = self.custom(one, child, inner)
        for name, child in node.properties.items() if self._defaults else ():
            if child.has_default and name not in decoded:
                decoded[name] = self.custom(copy.deepcopy(child.default), child, f"{path}.{name}")
        return decoded

    def _note_repeated(self, value: JsonObject, path: str) -> None:
        if isinstance(value, Repeated):
            prefix = f"{path}." if path else ""
            self.complaints += [f'duplicate field "{prefix}{name}"' for name in value.repeated]


def decode_object(
    body: JsonObject, kind: ResourceType, mode: str, warnings: list[str], *, defaults: bool = True
) -> JsonObject:
    """Answers the typed object; DecodeError when it has none.

    `mode` is fieldValidation: Strict refuses unknown and repeated fields, Warn adds to `warnings`, Ignore is silent.
    `defaults`: fill in those of
    a custom resource's schema (an applied configuration owns only what it says).
    """
    decoder = Decoder(defaults=defaults)
    body.setdefault("metadata", {})
    if kind.builtin:
        decoded: JsonObject = decoder.builtin(body, kind.node, "", kind.kind)
    else:
        node = builtin_types().node("meta.v1.ObjectMeta")
        metadata = decoder.builtin(body["metadata"], node, "metadata", "ObjectMeta")
        decoded = decoder.custom({name: value for name, value in body.items() if name != "metadata"}, kind.schema, "")
        decoded["metadata"] = metadata
    drop_empty_metadata(decoded.setdefault("metadata", {}))
    complaints = list(dict.fromkeys(decoder.complaints))
    if complaints and mode == "Strict":
        raise DecodeError(f"strict decoding error: {', '.join(complaints[:MAX_REPORTED])}", strict=True)
    if mode != "Ignore":
        warnings += complaints[:MAX_REPORTED]
    ordered: JsonObject = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": decoded["metadata"]}
    return ordered | decoded


def decode_request(body: JsonObject, kind: ResourceType, mode: str, warnings: list[str]) -> JsonObject:
    """`decode_object` for bodies of POST and PUT: errors are a 400 that names the kind."""
    try:
        return decode_object(body, kind, mode, warnings)
    except DecodeError as error:
        prefix = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
        raise errors.bad_request(prefix + error.text) from None


def drop_empty_metadata(metadata: JsonObject) -> None:
    for name in (
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "generateName",
        "namespace",
        "resourceVersion",
        "uid",
    ):
        if name in metadata and not metadata[name]:
            del metadata[name]


def omit_empty(body: JsonObject, node: Node) -> None:
    """Drop empty optional lists and maps of a built-in object, as Go's omitempty does when it is stored.

    Empty structs stay.
    """
    for name in [*body]:
        child, value = node.properties.get(name), body[name]
        if child is None or not isinstance(value, (dict, list)):
            continue
        if not value and name not in node.required and (child.kind == "array" or child.additional is not None):
            del body[name]
        elif isinstance(value, dict) and child.properties:
            omit_empty(value, child)
        elif isinstance(value, list) and child.items is not None and child.items.properties:
            for one in value:
                if isinstance(one, dict):
                    omit_empty(one, child.items)


def _decode_scalar(value: Any, node: Node, path: str, owner: str) -> Any:
    match node.kind:
        case "string":
            good = isinstance(value, str)
        case "bytes":
            if isinstance(value, str):
                return _check_base64(value)
            good = False
        case "time":
            if isinstance(value, str):
                return _check_time(value, path)
            good = False
        case "boolean":
            good = isinstance(value, bool)
        case "integer":
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            bound = 2 ** (node.int_bits - 1)
            good = isinstance(value, int) and not isinstance(value, bool) and -bound <= value < bound
        case "number":
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
        case "quantity":
            if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                return _check_quantity(value)
            good = False
        case _:
            good = isinstance(value, (int, str)) and not isinstance(value, bool)
    if not good:
        raise _mismatch(value, owner, path, _go_type(node))
    return value


def _go_type(node: Node) -> str:
    match node.kind:
        case "integer":
            return f"int{node.int_bits}"
        case "int-or-string":
            return "intstr.IntOrString"
        case "array":
            return "[]" + _go_type(node.items or ANY)
        case "object":
            if node.additional is not None:
                return "map[string]" + _go_type(node.additional)
            return f"v1.{node.type_name or 'Object'}"
        case kind:
            return _GO_TYPES.get(kind, "interface {}")


def _mismatch(value: Any, owner: str, path: str, wanted: str) -> DecodeError:
    given = go_kind(value)
    if given == "number" and wanted.startswith("int"):
        given = f"number {value}"
    where = re.sub(r"\[\d+\]", "", path)
    text = f"json: cannot unmarshal {given} into Go struct field {owner}.{where} of type {wanted}"
    return DecodeError(text, types=(given, wanted))


def _check_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        bad = next(
            (index for index, one in enumerate(text) if not (one.isascii() and (one.isalnum() or one in "+/="))),
            len(text),
        )
        raise DecodeError(f"illegal base64 data at input byte {bad}") from None
    return text


_SECONDS = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$")
_MICROS = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}(Z|[+-]\d{2}:\d{2})$")


def _check_time(text: str, path: str) -> str:
    """RFC 3339; leases and events count microseconds and insist on six digits."""
    micro = path.rpartition(".")[2] in _MICRO_TIMES
    form, layout = (_MICROS, "2006-01-02T15:04:05.000000Z07:00") if micro else (_SECONDS, "2006-01-02T15:04:05Z07:00")
    if form.match(text):
        return text
    rest, wanted = (text, "2006") if not re.match(r"^\d{4}", text) else (text[19:], ".000000" if micro else "Z07:00")
    raise DecodeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{wanted}"')


def _check_quantity(value: Any) -> str:
    try:
        return canonical(value)
    except QuantityError as error:
        raise DecodeError(str(error)) from None
