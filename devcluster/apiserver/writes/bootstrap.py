"""The initial objects of a cluster: system namespaces, the kubernetes Service, default roles, CRDs of KubeBlocks."""

from __future__ import annotations

import logging
from pathlib import Path

import yaml

from devcluster.apiserver.errors import ApiError, JsonObject
from devcluster.apiserver.schema.resources import Registry, ResourceType
from devcluster.apiserver.writes.deletion import SYSTEM_NAMESPACES
from devcluster.apiserver.writes.operations import Operations
from devcluster.apiserver.writes.options import Target, WriteOptions

logger = logging.getLogger(__name__)

_CRDS = Path(__file__).parents[2] / "crds"
_OPTIONS = WriteOptions("system:apiserver", "kube-apiserver")


def crd_paths(crd_dir: Path | None, kubeblocks: str) -> list[Path]:
    """Return the files of `crd_dir`, or the reduced ones of this package for the KubeBlocks release."""
    directory = crd_dir if crd_dir is not None else _CRDS / kubeblocks
    return sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")])


def _kind(registry: Registry, group: str, version: str, plural: str) -> ResourceType:
    found = registry.find(group, version, plural)
    if found is None:
        raise LookupError(f"{plural}.{group}/{version} is not among the built-in types")
    return found


def install_crds(operations: Operations, registry: Registry, paths: list[Path]) -> None:
    """Create or update the definitions, and serve those that are in the store."""
    kind = _kind(registry, "apiextensions.k8s.io", "v1", "customresourcedefinitions")
    for record in operations.store.records(kind.table):
        registry.install(record.parse())
    for path in paths:
        for definition in yaml.safe_load_all(path.read_text()):
            if not isinstance(definition, dict) or definition.get("kind") != "CustomResourceDefinition":
                continue
            name = definition["metadata"]["name"]
            existing = operations.store.get(kind.table, "", name)
            if existing is None:
                operations.create(kind, "", definition, _OPTIONS)
                continue
            body = existing.parse()
            body["spec"] = definition["spec"]
            operations.update(Target(kind, "", name), body, _OPTIONS)


def create_system_objects(operations: Operations) -> None:
    registry = operations.registry
    namespaces = _kind(registry, "", "v1", "namespaces")
    for name in SYSTEM_NAMESPACES:
        _create_missing(operations, namespaces, "", {"metadata": {"name": name}})
    services = _kind(registry, "", "v1", "services")
    _create_missing(
        operations,
        services,
        "default",
        {
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1"],
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
                "type": "ClusterIP",
            },
        },
    )
    roles = _kind(registry, "rbac.authorization.k8s.io", "v1", "clusterroles")
    bindings = _kind(registry, "rbac.authorization.k8s.io", "v1", "clusterrolebindings")
    for name, rules, groups in _CLUSTER_ROLES:
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        _create_missing(operations, roles, "", {"metadata": {"name": name, "labels": labels}, "rules": rules})
        if groups:
            subjects = [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group} for group in groups]
            _create_missing(
                operations,
                bindings,
                "",
                {
                    "metadata": {"name": name, "labels": labels},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                    "subjects": subjects,
                },
            )


def _create_missing(operations: Operations, kind: ResourceType, namespace: str, body: JsonObject) -> None:
    if operations.store.get(kind.table, namespace, body["metadata"]["name"]) is not None:
        return
    try:
        operations.create(kind, namespace, {"apiVersion": kind.api_version, "kind": kind.kind, **body}, _OPTIONS)
    except ApiError as error:
        logger.warning(
            "the system object %s %s could not be created: %s", kind.plural, body["metadata"]["name"], error.message
        )


_DISCOVERY_PATHS = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_CLUSTER_ROLES: list[tuple[str, list[JsonObject], list[str]]] = [
    (
        "cluster-admin",
        [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}],
        ["system:masters"],
    ),
    ("system:discovery", [{"nonResourceURLs": _DISCOVERY_PATHS, "verbs": ["get"]}], ["system:authenticated"]),
    (
        "system:basic-user",
        [
            {
                "apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                "verbs": ["create"],
            },
            {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
        ],
        ["system:authenticated"],
    ),
    (
        "system:public-info-viewer",
        [{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}],
        ["system:authenticated", "system:unauthenticated"],
    ),
    (
        "view",
        [
            {
                "apiGroups": ["", "apps", "batch", "networking.k8s.io", "policy", "autoscaling", "discovery.k8s.io"],
                "resources": [
                    "bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces",
                    "persistentvolumeclaims", "pods",
                    "pods/log", "pods/status", "replicationcontrollers", "resourcequotas", "serviceaccounts",
                    "services",
                    "controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets", "cronjobs",
                    "jobs",
                    "ingresses", "networkpolicies", "poddisruptionbudgets", "horizontalpodautoscalers",
                    "endpointslices",
                ],
                "verbs": _READ,
            }
        ],
        [],
    ),
    (
        "edit",
        [
            {
                "apiGroups": ["", "apps", "batch", "networking.k8s.io", "policy", "autoscaling"],
                "resources": [
                    "configmaps", "events", "persistentvolumeclaims", "pods", "pods/log", "pods/exec",
                    "replicationcontrollers",
                    "secrets", "serviceaccounts", "services", "daemonsets", "deployments", "deployments/scale",
                    "replicasets",
                    "statefulsets", "statefulsets/scale", "cronjobs", "jobs", "ingresses", "networkpolicies",
                    "poddisruptionbudgets", "horizontalpodautoscalers",
                ],
                "verbs": _READ + _WRITE,
            },
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": _READ},
        ],
        [],
    ),
]  # fmt: skip
