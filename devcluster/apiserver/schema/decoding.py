"""Decode JSON into typed objects: wrong JSON types are a 400, unknown fields are dropped with a warning or refused.

Built-in kinds are decoded like Go structs: nulls are dropped. Custom resources are pruned by their schema and get its
defaults; `validation.custom_resources` checks their values later (422).
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from typing import Any

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.go_values import go_kind
from devcluster.apiserver.schema.json_text import Repeated
from devcluster.apiserver.schema.quantities import ERROR_TEXT, QuantityError, canonical
from devcluster.apiserver.schema.resources import ResourceType, builtin_types
from devcluster.apiserver.schema.types import ANY, Node

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
_EMBEDDED = {
    ("IngressRule", "http"): "IngressRuleValue",
    ("PersistentVolumeClaim", "apiVersion"): "TypeMeta",
    ("PersistentVolumeClaim", "kind"): "TypeMeta",
    **{("Probe", one): "ProbeHandler" for one in ("exec", "httpGet", "tcpSocket", "grpc")},
    **{
        (owner, "name"): "LocalObjectReference"
        for owner in (
            "SecretKeySelector", "ConfigMapKeySelector", "SecretEnvSource", "ConfigMapEnvSource",
            "ConfigMapVolumeSource", "SecretProjection", "ConfigMapProjection",
        )
    },
    **{
        ("Volume", one): "VolumeSource"
        for one in (
            "emptyDir", "hostPath", "secret", "persistentVolumeClaim", "configMap", "projected", "downwardAPI",
            "nfs", "csi", "ephemeral", "image",
        )
    },
}  # fmt: skip
"""Embedded Go structs, which JSON does not show: (owner, field) → struct."""
_NAMED_TYPES = {
    ("PersistentVolumeClaimSpec", "accessModes"): "[]v1.PersistentVolumeAccessMode",
    ("PersistentVolumeClaimSpec", "volumeMode"): "v1.PersistentVolumeMode",
    ("VolumeResourceRequirements", "requests"): "v1.ResourceList",
    ("VolumeResourceRequirements", "limits"): "v1.ResourceList",
    ("ResourceRequirements", "requests"): "v1.ResourceList",
    ("ResourceRequirements", "limits"): "v1.ResourceList",
    ("ResourceQuotaSpec", "hard"): "v1.ResourceList",
    ("Capabilities", "add"): "[]v1.Capability",
    ("Capabilities", "drop"): "[]v1.Capability",
    ("NetworkPolicySpec", "policyTypes"): "[]v1.PolicyType",
    ("Secret", "type"): "v1.SecretType",
    ("HTTPIngressPath", "pathType"): "v1.PathType",
    ("ServiceSpec", "type"): "v1.ServiceType",
    ("ServiceSpec", "sessionAffinity"): "v1.ServiceAffinity",
    ("ServicePort", "protocol"): "v1.Protocol",
    ("ContainerPort", "protocol"): "v1.Protocol",
    ("NetworkPolicyPort", "protocol"): "v1.Protocol",
    ("Container", "imagePullPolicy"): "v1.PullPolicy",
    ("PodSpec", "restartPolicy"): "v1.RestartPolicy",
    ("PodSpec", "dnsPolicy"): "v1.DNSPolicy",
    ("StatefulSetSpec", "podManagementPolicy"): "v1.PodManagementPolicyType",
    ("StatefulSetUpdateStrategy", "type"): "v1.StatefulSetUpdateStrategyType",
    ("SeccompProfile", "type"): "v1.SeccompProfileType",
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted"): "v1.PersistentVolumeClaimRetentionPolicyType",
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled"): "v1.PersistentVolumeClaimRetentionPolicyType",
}


_NOTHING = Node("string")
"""The type of items in a list where the schema has none: objects lose all their fields."""


class DecodeError(Exception):
    """The message of Go's decoder, without the prefix that names the kind.

    `strict`: only unknown or repeated fields are wrong.
    """

    def __init__(self, text: str, *, strict: bool = False, types: tuple[str, str] = ("", "")) -> None:
        super().__init__(text)
        self.text = text
        self.strict = strict
        self.types = types
        """For a mismatch: the given JSON type and the expected Go type."""


class Decoder:
    """Decodes one body and collects its unknown and repeated fields."""

    def __init__(self, *, keeps_nulls: bool = False) -> None:
        """`keeps_nulls`: leave nulls in a custom resource, for validation to refuse, as in the result of an apply."""
        self.complaints: list[str] = []
        self._keeps_nulls = keeps_nulls

    def builtin(self, value: Any, node: Node, path: str, owner: str) -> Any:
        """Decode one value of a built-in kind. `owner` is the Go struct that contains the field, for messages."""
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
                    self.builtin(one, items, f"{path}[{index}]", owner) if one is not None else _zero_of(items)
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
            child = properties.get(name)
            embedding = _EMBEDDED.get((owner, name)) if path else None
            step = f"\0{embedding}.\0{name}" if embedding else name
            inner = f"{path}.{step}" if path else name
            if child is None and additional is not None:
                decoded[name] = _zero_of(additional) if one is None else self.builtin(one, additional, path, owner)
            elif child is None:
                self.complaints.append(f'unknown field "{_plain(inner)}"')
            elif one is not None:
                decoded[name] = self.builtin(one, child, inner, owner)
        return decoded

    def custom(self, value: Any, node: Node, path: str) -> Any:
        """Prune one value of a custom resource and set defaults. Wrong types pass; validation reports them."""
        if isinstance(value, dict) and (node.kind == "object" or not node.preserve_unknown):
            return self._custom_object(value, node, path)
        if isinstance(value, list) and not (node.items is None and node.preserve_unknown):
            items = node.items or _NOTHING
            return [self.custom(one, items, f"{path}[{index}]") for index, one in enumerate(value)]
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
                if self._keeps_nulls and not child.has_default:
                    decoded[name] = None
                continue
            decoded[name] = self.custom(one, child, inner)
        for name, child in node.properties.items():
            if child.has_default and name not in decoded:
                decoded[name] = self.custom(copy.deepcopy(child.default), child, f"{path}.{name}")
        return decoded

    def _note_repeated(self, value: JsonObject, path: str) -> None:
        if isinstance(value, Repeated):
            prefix = f"{_plain(path)}." if path else ""
            self.complaints += [f'duplicate field "{prefix}{name}"' for name in value.repeated]


def decode_object(
    body: JsonObject, kind: ResourceType, mode: str, warnings: list[str], *, keeps_nulls: bool = False
) -> JsonObject:
    """Return the typed object. DecodeError if the body does not fit the type.

    `mode` is fieldValidation: Strict refuses unknown and repeated fields, Warn adds to `warnings`, Ignore drops them.
    `keeps_nulls`: see Decoder.
    """
    decoder = Decoder(keeps_nulls=keeps_nulls)
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
    """`decode_object` for bodies of POST and PUT. ApiError 400 that names the kind."""
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


_NULL_LISTS = {"Role": ("rules",), "ClusterRole": ("rules",)}
"""Optional lists without omitempty in Go, by the struct: an empty one is null."""


def omit_empty(body: JsonObject, node: Node, *, in_lists: bool = True) -> JsonObject:
    """Return a built-in object without its empty optional lists and maps, as Go's omitempty does. Keeps structs.

    Without `in_lists`, lists that have one owner as a whole stay as they are: in them, an empty list differs from none.
    """
    nulls = _NULL_LISTS.get(node.type_name, ())
    kept: JsonObject = {name: None for name in nulls if not body.get(name)}
    for name, value in body.items():
        child = node.properties.get(name)
        if child is None:
            kept[name] = value
        elif name in nulls and not value:
            if not in_lists:
                kept[name] = value
        elif not isinstance(value, (dict, list)):
            if value or value is None or name not in node.omitted:
                kept[name] = value
        elif not value and name not in node.required and (child.kind == "array" or child.additional is not None):
            continue
        elif not in_lists and child.kind == "array" and child.list_type == "atomic":
            kept[name] = value
        elif isinstance(value, dict) and child.properties:
            kept[name] = omit_empty(value, child, in_lists=in_lists)
        elif isinstance(value, list) and child.items is not None and child.items.properties:
            items = child.items
            kept[name] = [omit_empty(one, items, in_lists=in_lists) if isinstance(one, dict) else one for one in value]
        else:
            kept[name] = value
    return kept


def _decode_scalar(value: Any, node: Node, path: str, owner: str) -> Any:
    match node.kind:
        case "string":
            good = isinstance(value, str)
        case "bytes":
            if isinstance(value, str):
                return _check_base64(value)
            if isinstance(value, list):
                return _bytes_of(value, owner, path)
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
            return _check_quantity(value)
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
    wanted = wanted.replace("intstr.IntOrString", "int32")
    if given == "number" and wanted.startswith("int"):
        given = f"number {value}"
    where = re.sub(r"\[\d+\]|\0", "", path)
    named = _NAMED_TYPES.get((owner, where.rpartition(".")[2]))
    if named is not None:
        is_element = named.startswith("[]") and not wanted.startswith("[]")
        wanted = named.removeprefix("[]") if is_element else named
    text = f"json: cannot unmarshal {given} into Go struct field {owner}.{where} of type {wanted}"
    return DecodeError(text, types=(given, wanted))


def _plain(path: str) -> str:
    """Return a path without embedded Go structs, which only messages about wrong types contain."""
    return re.sub("\0[^\0]*\0", "", path)


def _zero_of(node: Node) -> Any:
    """Return a new zero value of Go, which replaces a null item. Defaults are set in it later."""
    return copy.copy(_GO_ZERO.get(node.kind))


def _check_base64(text: str) -> str:
    """Return the base64 text without line breaks, which Go ignores."""
    joined = text.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(joined, validate=True)
    except (binascii.Error, ValueError):
        bad = next(
            (index for index, one in enumerate(text) if not (one.isascii() and (one.isalnum() or one in "+/=\r\n"))),
            len(text) - len(text) % 4,
        )
        raise DecodeError(f"illegal base64 data at input byte {bad}") from None
    return joined


def _bytes_of(value: list[Any], owner: str, path: str) -> str:
    """Return the base64 text of a list of numbers, which Go accepts for bytes."""
    numbers = [0 if one is None else one for one in value]
    for one in numbers:
        if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < 256:
            raise _mismatch(one, owner, path, "uint8")
    return base64.b64encode(bytes(numbers)).decode()


_SECONDS = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$")
_MICROS = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}(Z|[+-]\d{2}:\d{2})$")


def _check_time(text: str, path: str) -> str:
    """Check an RFC 3339 time. Leases and events require microseconds with six digits."""
    micro = path.rpartition(".")[2] in _MICRO_TIMES
    form, layout = (_MICROS, "2006-01-02T15:04:05.000000Z07:00") if micro else (_SECONDS, "2006-01-02T15:04:05Z07:00")
    if form.match(text):
        return text
    rest, wanted = (text, "2006") if not re.match(r"^\d{4}", text) else (text[19:], ".000000" if micro else "Z07:00")
    raise DecodeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{wanted}"')


def _check_quantity(value: Any) -> str:
    if isinstance(value, (bool, list, dict)):
        raise DecodeError(ERROR_TEXT)
    try:
        return canonical(value)
    except QuantityError as error:
        raise DecodeError(str(error)) from None
