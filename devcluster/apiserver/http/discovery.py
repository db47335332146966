"""Discovery documents: /version, /api, /apis, the resources of each group version, and aggregated discovery."""

from __future__ import annotations

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import Registry, ResourceType

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def build_version(kubernetes_version: str) -> JsonObject:
    """Return the response of /version for a version such as `v1.36.2`."""
    major, minor, *_ = kubernetes_version.lstrip("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": kubernetes_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "embedded",
        "platform": "linux/amd64",
    }


def build_core_versions(address: str) -> JsonObject:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_versions(registry: Registry) -> dict[str, list[str]]:
    """Return the versions of each group, the preferred one first. The core group is ""."""
    groups: dict[str, list[str]] = {}
    for one in registry.types():
        versions = groups.setdefault(one.group, [])
        if one.version not in versions:
            versions.append(one.version)
    return {group: sorted(versions, key=_version_order) for group, versions in groups.items()}


def _version_order(version: str) -> tuple[int, int, int, str]:
    """Sort key of a version: v2, v1, v1beta2, v1beta1, v1alpha1, as Kubernetes orders them."""
    digits = version.lstrip("v")
    for rank, stage in ((1, "beta"), (2, "alpha")):
        if stage in digits:
            major, _, minor = digits.partition(stage)
            if major.isdigit() and minor.isdigit():
                return rank, -int(major), -int(minor), ""
    return (0, -int(digits), 0, "") if digits.isdigit() else (3, 0, 0, version)


def build_paths(registry: Registry) -> list[str]:
    """Return the paths that the root path lists."""
    paths = {"/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi/v2", "/openapi/v3", "/version"}
    for group, versions in group_versions(registry).items():
        if group:
            paths.add(f"/apis/{group}")
        served = {f"/apis/{group}/{version}" if group else f"/api/{version}" for version in versions}
        paths |= served | {f"/openapi/v3{path}" for path in served}
    return sorted(paths)


def build_group(group: str, versions: list[str]) -> JsonObject:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def build_groups(registry: Registry) -> JsonObject:
    groups = [build_group(group, versions) for group, versions in group_versions(registry).items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def build_resource_list(registry: Registry, group: str, version: str) -> JsonObject | None:
    """Return the resources of a group version; None if it is not served."""
    served = sorted(
        (one for one in registry.types() if one.group == group and one.version == version), key=lambda one: one.plural
    )
    if not served:
        return None
    entries: list[JsonObject] = []
    for one in served:
        entries += _resource_entries(one)
    result: JsonObject = {"kind": "APIResourceList", "groupVersion": f"{group}/{version}" if group else version}
    if group:
        result["apiVersion"] = "v1"
    return result | {"resources": entries}


def _resource_entries(kind: ResourceType) -> list[JsonObject]:
    entry: JsonObject = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = kind.short_names
    if kind.categories:
        entry["categories"] = kind.categories
    entries = [entry]
    for name, sub in sorted(kind.subresources.items()):
        one: JsonObject = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": sub["kind"],
            "verbs": sub["verbs"],
        }
        if (sub["group"], sub["version"]) != (kind.group, kind.version):
            one["group"], one["version"] = sub["group"], sub["version"]
        entries.append(one)
    return entries


def build_aggregated(registry: Registry, *, core: bool) -> JsonObject:
    """Return aggregated discovery (apidiscovery.k8s.io/v2) for /api if `core`, else for /apis."""
    items: list[JsonObject] = []
    for group, versions in group_versions(registry).items():
        if (group == "") != core:
            continue
        items.append(
            {
                "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Current",
                        "resources": [
                            _aggregated_entry(one)
                            for one in registry.types()
                            if one.group == group and one.version == version
                        ],
                    }
                    for version in versions
                ],
            }
        )
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_entry(kind: ResourceType) -> JsonObject:
    entry: JsonObject = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = kind.short_names
    if kind.categories:
        entry["categories"] = kind.categories
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": {"group": sub["group"], "version": sub["version"], "kind": sub["kind"]},
                "verbs": sub["verbs"],
            }
            for name, sub in sorted(kind.subresources.items())
        ]
    return entry
