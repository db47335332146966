"""Generate `builtin_types.json`, the built-in API, from the OpenAPI document and the Go types of Kubernetes.

    python -m devcluster.apiserver.schema.generate_types api/openapi-spec/swagger.json TYPES.go…

The document is part of the Go module k8s.io/kubernetes (Apache-2.0). The table has field names, types, required fields,
list keys and verbs, but no descriptions. The `types.go` files are `GROUP/VERSION/types.go` of k8s.io/api,
`pkg/apis/meta/v1/types.go` of k8s.io/apimachinery and `pkg/apis/apiextensions/v1/types*.go` of
k8s.io/apiextensions-apiserver: they say which scalars lose a zero in JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).with_name("builtin_types.json")

_SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "time",
}
_PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?P<namespaced>/namespaces/\{namespace\})?"
    r"/(?P<plural>[a-z]+)(?P<named>/\{name\})?(?:/(?P<subresource>[a-z]+))?$"
)
_STRUCT = re.compile(r"^type (?P<name>\w+) struct \{\n(?P<fields>.*?)^\}", re.MULTILINE | re.DOTALL)
_GO_FIELD = re.compile(r"^\t(?:\w+\s+)?(?P<type>[\w.*\[\]]+)\s+`json:\"(?P<name>\w*),(?P<options>\w+)", re.MULTILINE)
_SCALAR_KINDS = {"string", "int32", "integer", "number", "boolean"}
_WITHOUT_RESOURCE = ["autoscaling.v1.Scale"]
"""Types of subresources."""
_VERBS = {"list", "post", "get", "put", "patch", "delete", "deletecollection"}
_VERB_NAMES = {"post": "create", "put": "update"}


def short_name(reference: str) -> str:
    """Return `apps.v1.StatefulSet` for `io.k8s.api.apps.v1.StatefulSet`."""
    for prefix in ("io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s.apiextensions-apiserver.pkg.apis."):
        if reference.startswith(prefix):
            return reference.removeprefix(prefix)
    return reference.removeprefix("io.k8s.")


def build_tables(swagger: dict[str, Any]) -> dict[str, Any]:
    """Return {"resources": [...], "types": {...}} of every stable (v1, v2) group version."""
    resources = _collect_resources(swagger)
    types: dict[str, Any] = {}
    wanted = [*(one["type"] for one in resources.values()), *_WITHOUT_RESOURCE]
    names = {short_name(reference): reference for reference in swagger["definitions"]}
    while wanted:
        name = wanted.pop()
        if name in types:
            continue
        types[name], referenced = _reduce(names[name], swagger["definitions"])
        wanted += referenced
    return {"resources": sorted(resources.values(), key=_resource_order), "types": dict(sorted(types.items()))}


def read_go_types(files: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Return the fields with `omitempty` of each struct, by its short name: {JSON name: Go type}."""
    found: dict[str, dict[str, str]] = {}
    embedded: dict[str, list[str]] = {}
    for file in files:
        package = ".".join(file.parts[-3:-1])
        for struct in _STRUCT.finditer(file.read_text()):
            name = f"{package}.{struct['name']}"
            fields = list(_GO_FIELD.finditer(struct["fields"]))
            found[name] = {one["name"]: one["type"] for one in fields if one["options"] == "omitempty"}
            embedded[name] = [f"{package}.{one['type']}" for one in fields if one["options"] == "inline"]
    for name, inner in embedded.items():
        for one in inner:
            found[name] |= found.get(one, {})
    return found


def add_omitted(types: dict[str, Any], go_types: dict[str, dict[str, str]]) -> None:
    """Add to each type the scalars whose zero JSON leaves out: those with `omitempty` that are no pointers."""
    for name, definition in types.items():
        if isinstance(definition, dict):
            properties = definition.get("properties", {})
            omitted = [
                one
                for one, go_type in go_types.get(name, {}).items()
                if not go_type.startswith("*") and str(properties.get(one)) in _SCALAR_KINDS
            ]
            if omitted:
                definition["omit"] = sorted(omitted)


def _resource_order(resource: dict[str, Any]) -> tuple[str, str, str]:
    return resource["group"], resource["version"], resource["plural"]


def _collect_resources(swagger: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    resources: dict[tuple[str, str, str], dict[str, Any]] = {}
    for path, operations in swagger["paths"].items():
        found = _PATH.match(path)
        if found is None or not re.fullmatch(r"v\d+", found["version"]):
            continue
        for operation in operations.values():
            if not isinstance(operation, dict) or "x-kubernetes-group-version-kind" not in operation:
                continue
            action = operation["x-kubernetes-action"]
            if action not in _VERBS:
                continue
            key = (found["group"] or "", found["version"], found["plural"])
            entry = resources.setdefault(
                key,
                {
                    "group": key[0],
                    "version": key[1],
                    "plural": key[2],
                    "kind": "",
                    "type": "",
                    "namespaced": False,
                    "verbs": [],
                    "subresources": {},
                },
            )
            verb = _VERB_NAMES.get(action, action)
            if found["namespaced"]:
                entry["namespaced"] = True
            if found["subresource"]:
                kind = operation["x-kubernetes-group-version-kind"]
                sub = entry["subresources"].setdefault(
                    found["subresource"],
                    {"kind": kind["kind"], "group": kind["group"], "version": kind["version"], "verbs": []},
                )
                sub["verbs"] = sorted({*sub["verbs"], verb})
                continue
            entry["verbs"] = sorted({*entry["verbs"], verb})
            if action in {"get", "post", "put"}:
                entry["kind"] = operation["x-kubernetes-group-version-kind"]["kind"]
                schema = operation["responses"]["200"]["schema"]["$ref"].removeprefix("#/definitions/")
                entry["type"] = short_name(schema)
    for entry in resources.values():
        if "list" in entry["verbs"]:
            entry["verbs"] = sorted({*entry["verbs"], "watch"})
    return {key: entry for key, entry in resources.items() if entry["type"]}


def _reduce(reference: str, definitions: dict[str, Any]) -> tuple[Any, list[str]]:
    if reference in _SCALARS:
        return _SCALARS[reference], []
    definition = definitions[reference]
    if reference.endswith((".JSON", ".RawExtension", ".FieldsV1", ".Patch", ".JSONSchemaPropsOrBool")) or (
        "JSONSchemaPropsOr" in reference
    ):
        return "any", []
    referenced: list[str] = []
    reduced: dict[str, Any] = {}
    if definition.get("required"):
        reduced["required"] = definition["required"]
    if definition.get("x-kubernetes-map-type") == "atomic":
        reduced["atomic"] = 1
    properties = {name: _reduce_property(sub, referenced) for name, sub in definition.get("properties", {}).items()}
    if properties:
        reduced["properties"] = properties
    return reduced, referenced


def _reduce_property(schema: dict[str, Any], referenced: list[str]) -> Any:
    if "$ref" in schema:
        name = short_name(schema["$ref"].removeprefix("#/definitions/"))
        referenced.append(name)
        return {"of": f"#{name}", "atomic": 1} if schema.get("x-kubernetes-map-type") == "atomic" else f"#{name}"
    kind = schema.get("type")
    if kind == "array":
        return _reduce_list(schema, referenced)
    if kind == "object" and "additionalProperties" in schema:
        reduced: dict[str, Any] = {"map": _reduce_property(schema["additionalProperties"], referenced)}
        if schema.get("x-kubernetes-map-type") == "atomic":
            reduced["atomic"] = 1
        return reduced
    if kind == "string" and schema.get("format") == "byte":
        return "bytes"
    if kind == "integer" and schema.get("format") == "int32":
        return "int32"
    return kind or "any"


def _reduce_list(schema: dict[str, Any], referenced: list[str]) -> dict[str, Any]:
    reduced: dict[str, Any] = {"list": _reduce_property(schema["items"], referenced)}
    if schema.get("x-kubernetes-list-type", "atomic") != "atomic":
        reduced["type"] = schema["x-kubernetes-list-type"]
    if schema.get("x-kubernetes-list-map-keys"):
        reduced["keys"] = schema["x-kubernetes-list-map-keys"]
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    if "merge" in strategy:
        reduced["merge"] = 1
        if schema.get("x-kubernetes-patch-merge-key"):
            reduced["merge_key"] = schema["x-kubernetes-patch-merge-key"]
    return reduced


def main() -> int:
    if len(sys.argv) < 3:
        sys.stderr.write("usage: python -m devcluster.apiserver.schema.generate_types SWAGGER.json TYPES.go…\n")
        return 2
    tables = build_tables(json.loads(Path(sys.argv[1]).read_text()))
    add_omitted(tables["types"], read_go_types(Path(one) for one in sys.argv[2:]))
    OUTPUT.write_text(json.dumps(tables, separators=(",", ":"), sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
