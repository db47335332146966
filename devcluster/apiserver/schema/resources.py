"""The registry of served resources: built-in ones and those of CustomResourceDefinitions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.types import ANY, Node, TypeTable, build_from_openapi

_SHORT_NAMES: dict[str, list[str]] = {
    "configmaps": ["cm"],
    "endpoints": ["ep"],
    "events": ["ev"],
    "limitranges": ["limits"],
    "namespaces": ["ns"],
    "nodes": ["no"],
    "persistentvolumeclaims": ["pvc"],
    "persistentvolumes": ["pv"],
    "pods": ["po"],
    "replicationcontrollers": ["rc"],
    "resourcequotas": ["quota"],
    "serviceaccounts": ["sa"],
    "services": ["svc"],
    "customresourcedefinitions": ["crd", "crds"],
    "daemonsets": ["ds"],
    "deployments": ["deploy"],
    "replicasets": ["rs"],
    "statefulsets": ["sts"],
    "horizontalpodautoscalers": ["hpa"],
    "cronjobs": ["cj"],
    "certificatesigningrequests": ["csr"],
    "ingresses": ["ing"],
    "networkpolicies": ["netpol"],
    "poddisruptionbudgets": ["pdb"],
    "priorityclasses": ["pc"],
    "storageclasses": ["sc"],
    "ipaddresses": ["ip"],
    "componentstatuses": ["cs"],
    "volumeattributesclasses": ["vac"],
}
_IN_CATEGORY_ALL = {
    "pods", "replicationcontrollers", "services", "daemonsets", "deployments", "replicasets", "statefulsets",
    "horizontalpodautoscalers", "cronjobs", "jobs",
}  # fmt: skip
_WITHOUT_GENERATION = {
    "configmaps", "secrets", "events", "namespaces", "nodes", "endpoints", "services", "serviceaccounts",
    "persistentvolumes",
    "persistentvolumeclaims", "resourcequotas", "limitranges", "podtemplates", "roles", "rolebindings", "clusterroles",
    "clusterrolebindings", "leases", "storageclasses", "controllerrevisions",
    "certificatesigningrequests",
    "csidrivers", "csinodes", "csistoragecapacities", "volumeattachments", "apiservices", "horizontalpodautoscalers",
    "runtimeclasses", "ipaddresses", "servicecidrs", "deviceclasses", "resourceclaims", "resourceclaimtemplates",
    "volumeattributesclasses", "componentstatuses",
}  # fmt: skip
_CREATED_BY_UPDATE = {
    "services",
    "runtimeclasses",
    "leases",
    "events",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "endpoints",
    "limitranges",
}


_CATEGORIES = {
    "customresourcedefinitions": ["api-extensions"],
    "mutatingwebhookconfigurations": ["api-extensions"],
    "validatingwebhookconfigurations": ["api-extensions"],
    "apiservices": ["api-extensions"],
}
_DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}


@dataclass(slots=True)
class ResourceType:
    """A served resource in one API version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    subresources: dict[str, JsonObject] = field(default_factory=dict)
    """Kind, group, version and verbs of each subresource, by name."""
    list_kind: str = ""
    singular: str = ""
    short_names: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    builtin: bool = True
    type_name: str = ""
    schema: Node = field(default_factory=lambda: ANY)
    """For custom resources only. `type_name` names the type of a built-in resource."""
    selectable_fields: tuple[str, ...] = ()
    printer_columns: list[JsonObject] = field(default_factory=list)
    storage_version: str = ""
    deprecation: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def table(self) -> str:
        """Key of the objects in the store, the same for all versions."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def has_generation(self) -> bool:
        return not self.builtin or self.plural not in _WITHOUT_GENERATION

    @property
    def ignores_empty(self) -> bool:
        """Whether a write that only adds or removes empty values leaves the generation as it is. The strategies of
        workloads compare semantically, that of NetworkPolicies and the immutable data of other kinds do not."""
        return self.builtin and self.has_generation and self.plural != "networkpolicies"

    @property
    def creates_on_update(self) -> bool:
        return self.builtin and self.plural in _CREATED_BY_UPDATE

    @property
    def node(self) -> Node:
        return builtin_types().node(self.type_name) if self.builtin else self.schema


@cache
def _builtin_tables() -> JsonObject:
    tables: JsonObject = json.loads(Path(__file__).with_name("builtin_types.json").read_text())
    return tables


@cache
def builtin_types() -> TypeTable:
    return TypeTable(_builtin_tables()["types"])


@cache
def builtin_resources() -> tuple[ResourceType, ...]:
    return tuple(
        ResourceType(
            group=one["group"],
            version=one["version"],
            plural=one["plural"],
            kind=one["kind"],
            namespaced=one["namespaced"],
            verbs=tuple(one["verbs"]),
            subresources=one["subresources"],
            list_kind=one["kind"] + "List",
            singular=one["kind"].lower(),
            short_names=_SHORT_NAMES.get(one["plural"], []),
            categories=["all"] if one["plural"] in _IN_CATEGORY_ALL else _CATEGORIES.get(one["plural"], []),
            type_name=one["type"],
            storage_version=one["version"],
            deprecation=_DEPRECATED.get(one["plural"], "") if not one["group"] else "",
        )
        for one in _builtin_tables()["resources"]
    )


def build_custom_resources(definition: JsonObject) -> list[ResourceType]:
    """Return the served versions of a CustomResourceDefinition (apiextensions.k8s.io/v1)."""
    spec = definition["spec"]
    names = spec["names"]
    storage = next((one["name"] for one in spec["versions"] if one.get("storage")), spec["versions"][0]["name"])
    served: list[ResourceType] = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"}
        subresources: dict[str, Any] = {}
        if "status" in (version.get("subresources") or {}):
            subresources["status"] = {
                "kind": names["kind"], "group": spec["group"], "version": version["name"],
                "verbs": ["get", "patch", "update"],
            }  # fmt: skip
        if "scale" in (version.get("subresources") or {}):
            subresources["scale"] = {
                "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"],
                "paths": version["subresources"]["scale"],
            }  # fmt: skip
        node = build_from_openapi(schema)
        _add_object_fields(node)
        served.append(
            ResourceType(
                group=spec["group"],
                version=version["name"],
                plural=names["plural"],
                kind=names["kind"],
                namespaced=spec["scope"] == "Namespaced",
                verbs=("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"),
                subresources=subresources,
                list_kind=names.get("listKind") or names["kind"] + "List",
                singular=names.get("singular") or names["kind"].lower(),
                short_names=list(names.get("shortNames") or []),
                categories=list(names.get("categories") or []),
                builtin=False,
                schema=node,
                selectable_fields=tuple(one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ()),
                printer_columns=list(version.get("additionalPrinterColumns") or []),
                storage_version=storage,
                deprecation=(
                    version.get("deprecationWarning")
                    or f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
                )
                if version.get("deprecated")
                else "",
            )
        )
    return served


def _add_object_fields(node: Node) -> None:
    """Set the types of apiVersion, kind and metadata, which a schema can't change."""
    metadata = builtin_types().node("meta.v1.ObjectMeta")
    node.properties["apiVersion"] = Node("string")
    node.properties["kind"] = Node("string")
    node.properties["metadata"] = metadata


class Registry:
    """Finds served resources by URL, kind or table."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str, str], ResourceType] = {}
        self._custom: dict[str, list[ResourceType]] = {}
        for one in builtin_resources():
            self._types[one.group, one.version, one.plural] = one

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._types.get((group, version, plural))

    def types(self) -> list[ResourceType]:
        return list(self._types.values())

    def by_table(self, table: str) -> ResourceType | None:
        """Return the storage version of the resource, or another served version."""
        plural, _, group = table.partition(".")
        found = [one for one in self._types.values() if one.plural == plural and one.group == group]
        return next((one for one in found if one.version == one.storage_version), found[0] if found else None)

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        group, _, version = api_version.rpartition("/")
        for one in self._types.values():
            if one.group == group and one.kind == kind and (one.version == version) and "get" in one.verbs:
                return one
        return None

    def install(self, definition: JsonObject) -> None:
        """Serve a CustomResourceDefinition, or its new version."""
        name = definition["metadata"]["name"]
        self.uninstall(name)
        served = build_custom_resources(definition)
        self._custom[name] = served
        for one in served:
            self._types[one.group, one.version, one.plural] = one

    def uninstall(self, name: str) -> None:
        for one in self._custom.pop(name, []):
            self._types.pop((one.group, one.version, one.plural), None)
