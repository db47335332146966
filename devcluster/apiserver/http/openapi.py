"""OpenAPI v3: schemas and operations of every group version, from which kubectl reads the features of the server.

Schemas have no descriptions, because builtin_types.json contains no texts. OpenAPI v2 is not served: kubectl requests
it as protobuf.
"""

from __future__ import annotations

import hashlib

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import Registry, ResourceType, builtin_types
from devcluster.apiserver.storage.records import dump

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_PREFIXES = {
    "meta.v1.": _META,
    "apimachinery.": "io.k8s.apimachinery.",
    "apiextensions.v1.": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.",
    "kube-aggregator.": "io.k8s.kube-aggregator.",
}
_SCALARS: dict[str, JsonObject] = {
    "string": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "int32": {"type": "integer", "format": "int32"},
    "number": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "object": {"type": "object"},
    "any": {},
}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_VERBS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete", "list": "get"}
_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def build_index(registry: Registry) -> JsonObject:
    """Return the index at /openapi/v3: the URL of each document, with a hash that changes with the document."""
    served: dict[str, list[JsonObject]] = {}
    for kind in registry.types():
        own = {"plural": kind.plural, "schema": None if kind.builtin else kind.schema.rules}
        served.setdefault(_path_of(kind), []).append(own)
    paths: JsonObject = {}
    for path, kinds in sorted(served.items()):
        digest = hashlib.sha256(dump({"kinds": kinds})).hexdigest().upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def build_document(registry: Registry, path: str) -> JsonObject | None:
    """Return the document of `api/v1` or `apis/GROUP/VERSION`; None if it is not served."""
    kinds = [kind for kind in registry.types() if _path_of(kind) == path]
    if not kinds:
        return None
    schemas: JsonObject = {}
    for kind in kinds:
        _add_kind(schemas, kind)
    paths: JsonObject = {}
    for kind in sorted(kinds, key=lambda one: one.plural):
        paths |= _paths_of(kind)
    info = {"title": "Kubernetes", "version": "unversioned"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _path_of(kind: ResourceType) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


# Schemas


def _public_name(name: str) -> str:
    for prefix, full in _PREFIXES.items():
        if name.startswith(prefix):
            return full + name.removeprefix(prefix)
    return f"io.k8s.api.{name}"


def _name_of(kind: ResourceType) -> str:
    """Return the name of the schema. For a custom resource: the reversed group, the version and the kind."""
    if kind.builtin:
        return _public_name(kind.type_name)
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _reference(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _add_kind(schemas: JsonObject, kind: ResourceType) -> None:
    name = _name_of(kind)
    if kind.builtin:
        _add_type(schemas, kind.type_name)
    else:
        _add_type(schemas, "meta.v1.ObjectMeta")
        own = dict(kind.schema.rules or {"type": "object"})
        metadata = {"allOf": [_reference(_META + "ObjectMeta")]}
        head = {"apiVersion": _SCALARS["string"], "kind": _SCALARS["string"], "metadata": metadata}
        schemas[name] = own | {"properties": {**(own.get("properties") or {}), **head}}
    schemas[name] = {**schemas[name], "x-kubernetes-group-version-kind": [_gvk(kind)]}
    if "list" in kind.verbs:
        schemas[_META + "ListMeta"] = {
            "type": "object",
            "properties": {
                "continue": _SCALARS["string"],
                "remainingItemCount": _SCALARS["integer"],
                "resourceVersion": _SCALARS["string"],
                "selfLink": _SCALARS["string"],
            },
        }
        items = {"type": "array", "items": _reference(name)}
        schemas[f"{name}List"] = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": _SCALARS["string"],
                "kind": _SCALARS["string"],
                "items": items,
                "metadata": {"allOf": [_reference(_META + "ListMeta")]},
            },
            "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": kind.list_kind}],
        }


def _gvk(kind: ResourceType) -> JsonObject:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _add_type(schemas: JsonObject, name: str) -> str:
    """Add a built-in type and the types it refers to. Return its public name."""
    public = _public_name(name)
    if public in schemas:
        return public
    definition = builtin_types().definition(name)
    if isinstance(definition, str):
        schemas[public] = _SCALARS[definition]
        return public
    schema: JsonObject = {"type": "object"}
    schemas[public] = schema  # before its properties: types may refer to themselves
    properties = {prop: _build(schemas, spec) for prop, spec in definition.get("properties", {}).items()}
    if properties:
        schema["properties"] = properties
    if definition.get("required"):
        schema["required"] = list(definition["required"])
    if definition.get("atomic"):
        schema["x-kubernetes-map-type"] = "atomic"
    return public


def _build(schemas: JsonObject, spec: JsonObject | str) -> JsonObject:
    if isinstance(spec, str):
        if not spec.startswith("#"):
            return _SCALARS[spec]
        return {"allOf": [_reference(_add_type(schemas, spec[1:]))], "default": {}}
    if "map" in spec:
        built: JsonObject = {"type": "object", "additionalProperties": _build(schemas, spec["map"])}
        return built | ({"x-kubernetes-map-type": "atomic"} if spec.get("atomic") else {})
    if "list" not in spec:
        return _build(schemas, spec["of"])
    built = {"type": "array", "items": _build(schemas, spec["list"])}
    if spec.get("type"):
        built["x-kubernetes-list-type"] = spec["type"]
    if spec.get("keys"):
        built["x-kubernetes-list-map-keys"] = list(spec["keys"])
    if spec.get("merge"):
        built["x-kubernetes-patch-strategy"] = "merge"
    if spec.get("merge_key"):
        built["x-kubernetes-patch-merge-key"] = spec["merge_key"]
    return built


# Operations


def _paths_of(kind: ResourceType) -> JsonObject:
    root = f"/{_path_of(kind)}"
    place = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    paths: JsonObject = {}
    collection = _operations(kind, ("list", "create"))
    if collection:
        paths[place] = collection
    if kind.namespaced and "list" in kind.verbs:
        paths[f"{root}/{kind.plural}"] = _operations(kind, ("list",))
    one = _operations(kind, ("get", "update", "patch", "delete"))
    if one:
        paths[f"{place}/{{name}}"] = one
    return paths


def _operations(kind: ResourceType, verbs: tuple[str, ...]) -> JsonObject:
    return {_VERBS[verb]: _operation(kind, verb) for verb in verbs if verb in kind.verbs}


def _operation(kind: ResourceType, verb: str) -> JsonObject:
    action = {"create": "post", "update": "put"}.get(verb, verb)
    name = _name_of(kind) + ("List" if verb == "list" else "")
    answer = {"description": "OK", "content": {"application/json": {"schema": _reference(name)}}}
    operation: JsonObject = {
        "responses": {"200": answer},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if verb in {"create", "update", "patch"}:
        names = (*_WRITE_PARAMETERS, "force") if verb == "patch" else _WRITE_PARAMETERS
        types = tuple(one for one in _PATCH_TYPES if kind.builtin or "strategic" not in one)
        types = types if verb == "patch" else ("*/*",)
        body: JsonObject = {"type": "object"} if verb == "patch" else _reference(name)
        operation["requestBody"] = {"required": True, "content": {one: {"schema": body} for one in types}}
        operation["parameters"] = [_parameter(one) for one in names]
    elif verb == "delete":
        operation["parameters"] = [_parameter("dryRun"), _parameter("propagationPolicy")]
    return operation


def _parameter(name: str) -> JsonObject:
    kind = "boolean" if name == "force" else "string"
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
