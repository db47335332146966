"""Generate `builtin_types.json`, the built-in API, from the OpenAPI document of Kubernetes.

    python -m devcluster.apiserver.schema.generate_types api/openapi-spec/swagger.json

The document is part of the Go module k8s.io/kubernetes (Apache-2.0). The table has field names, types, required fields,
list keys and verbs, but no descriptions.
"""

from __future__ import annotations

import json
import re
import sys
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
    wanted = [one["type"] for one in resources.values()]
    names = {short_name(reference): reference for reference in swagger["definitions"]}
    while wanted:
        name = wanted.pop()
        if name in types:
            continue
        types[name], referenced = _reduce(names[name], swagger["definitions"])
        wanted += referenced
    return {"resources": sorted(resources.values(), key=_resource_order), "types": dict(sorted(types.items()))}


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
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m devcluster.apiserver.schema.generate_types SWAGGER.json\n")
        return 2
    tables = build_tables(json.loads(Path(sys.argv[1]).read_text()))
    OUTPUT.write_text(json.dumps(tables, separators=(",", ":"), sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
