"""Judges whether a cluster has what the next project needs: storage classes, versions, room in quotas. Pure: objects
of the API server in, sentences out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from provisioning.objects.diff import parse_quantity
from provisioning.objects.manifests import CLUSTER_V1, SANDBOX_REQUESTS, DatabaseSpec, SandboxSpec
from provisioning.objects.readers import Object, annotations_of, mapping, metadata_of, objects, text

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_REPOSITORY = "dataprotection.kubeblocks.io/is-default-repo"
ADDON = "postgresql"
TOPOLOGY = "replication"

Demand = Mapping[str, Decimal]


def build_demand(database: DatabaseSpec, sandbox: SandboxSpec) -> Demand:
    """Return what one project takes of each resource that a ResourceQuota can limit."""
    storage = {database.storage_class: [database.storage]}
    storage.setdefault(sandbox.storage_class, []).append(sandbox.storage)
    demand = {
        "pods": Decimal(2),
        "persistentvolumeclaims": Decimal(2),
        "services": Decimal(2),
        "secrets": Decimal(2),
        "statefulsets.apps": Decimal(1),
        "clusters.apps.kubeblocks.io": Decimal(1),
        "ingresses.networking.k8s.io": Decimal(len(sandbox.ports) if sandbox.domain else 0),
    }
    demand |= {f"count/{name}": count for name, count in demand.items()}
    for resource, of_database, of_sandbox in (
        ("cpu", database.cpu, sandbox.cpu),
        ("memory", database.memory, sandbox.memory),
    ):
        demand[f"limits.{resource}"] = _sum(of_database, of_sandbox)
        demand[f"requests.{resource}"] = demand[resource] = _sum(of_database, SANDBOX_REQUESTS[resource])
    demand["requests.storage"] = _sum(database.storage, sandbox.storage)
    for name, amounts in storage.items():
        if name:
            demand[f"{name}.storageclass.storage.k8s.io/requests.storage"] = _sum(*amounts)
            demand[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = Decimal(len(amounts))
    return demand


def _sum(*amounts: str) -> Decimal:
    return sum((parse_quantity(amount) or Decimal(0) for amount in amounts), Decimal(0))


def find_shortages(quotas: Iterable[Object], demand: Demand) -> list[str]:
    """Return a phrase for each resource that a quota leaves too little of. Quotas with scopes are left out: whether
    they apply depends on the Pods."""
    shortages = []
    for quota in quotas:
        spec = mapping(quota.get("spec"))
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        status = mapping(quota.get("status"))
        hard, used = mapping(status.get("hard")) or mapping(spec.get("hard")), mapping(status.get("used"))
        for resource, needed in demand.items():
            limit = parse_quantity(hard.get(resource)) if resource in hard else None
            if limit is None or not needed:
                continue
            left = max(limit - (parse_quantity(used.get(resource, "0")) or Decimal(0)), Decimal(0))
            if left < needed:
                name = text(metadata_of(quota).get("name"), 253)
                room = f"{_show(left)} of {_show(limit)} {resource}"
                shortages.append(f"{name} leaves {room}, and a project needs {_show(needed)}")
    return shortages


def _show(amount: Decimal) -> str:
    """Return an amount in the unit of Kubernetes that keeps it short."""
    for suffix, factor in (("Gi", 2**30), ("Mi", 2**20)):
        if amount >= factor and amount % factor == 0:
            return f"{amount // factor:f}{suffix}"
    return f"{(amount * 1000).normalize():f}m" if amount % 1 else f"{amount.normalize():f}"


def find_missing_class(classes: Iterable[Object], wanted: str) -> str:
    """Return why volumes of the class can't be provisioned, "" if they can. `wanted` "" is the default class."""
    names = {text(metadata_of(item).get("name"), 253): annotations_of(item) for item in classes}
    there = f"There are: {', '.join(sorted(names)[:6])}." if names else "There is none."
    if wanted:
        return "" if wanted in names else f"There is no StorageClass {wanted}. {there}"
    if any(annotations.get(_DEFAULT_CLASS) == "true" for annotations in names.values()):
        return ""
    return f"No StorageClass is the default. {there}"


def find_missing_version(component_versions: Iterable[Object], wanted: str) -> str:
    """Return why KubeBlocks 1.x can't run this version of PostgreSQL, "" if it can."""
    found = [item for item in component_versions if metadata_of(item).get("name") == ADDON]
    if not found:
        return f"There is no ComponentVersion {ADDON}: install KubeBlocks' PostgreSQL addon."
    if _is_unavailable(found[0]):
        return f"The ComponentVersion {ADDON} is not available: look at `kubectl describe componentversion {ADDON}`."
    releases = objects(mapping(found[0].get("spec")).get("releases"))
    offered = {text(release.get("serviceVersion"), 40) for release in releases}
    if wanted in offered:
        return ""
    newest = ", ".join(sorted(offered, key=_version_key)[-8:])
    return f"The addon offers no PostgreSQL {wanted}, but {newest}. Set POSTGRES_VERSION to one of these."


def find_missing_legacy_version(cluster_versions: Iterable[Object], wanted: str) -> str:
    """Return why KubeBlocks 0.8 or 0.9 can't run this ClusterVersion, "" if it can."""
    names = {text(metadata_of(item).get("name"), 253) for item in cluster_versions}
    if wanted in names:
        return ""
    offered = ", ".join(sorted(name for name in names if name.startswith(ADDON))[-8:]) or "none of PostgreSQL"
    return f"There is no ClusterVersion {wanted}, but {offered}. Set POSTGRES_VERSION_LEGACY to one that exists."


def find_missing_definition(definitions: Iterable[Object], api_version: str) -> str:
    """Return why Clusters of the addon can't be made, "" if they can."""
    found = [item for item in definitions if metadata_of(item).get("name") == ADDON]
    if not found:
        return f"There is no ClusterDefinition {ADDON}: install KubeBlocks' PostgreSQL addon."
    if _is_unavailable(found[0]):
        return f"The ClusterDefinition {ADDON} is not available: look at `kubectl describe clusterdefinition {ADDON}`."
    topologies = [topology.get("name") for topology in objects(mapping(found[0].get("spec")).get("topologies"))]
    if api_version == CLUSTER_V1 and TOPOLOGY not in topologies:
        return f"The ClusterDefinition {ADDON} has no topology `{TOPOLOGY}`: upgrade the addon."
    return ""


@dataclass(frozen=True, slots=True)
class Addon:
    """The addon's objects as listed: ClusterDefinitions, ComponentDefinitions and ComponentVersions."""

    definitions: Sequence[Object]
    component_definitions: Sequence[Object]
    component_versions: Sequence[Object]

    def fitting(self, wanted: str) -> dict[str, Object] | None:
        """Return the ComponentDefinitions that run this version of PostgreSQL in the topology that the panel uses, by
        name; None where the topology or the ComponentVersion doesn't say which."""
        taken = [
            text(component.get("compDef"), 100)
            for definition in self.definitions
            if metadata_of(definition).get("name") == ADDON
            for topology in objects(mapping(definition.get("spec")).get("topologies"))
            if topology.get("name") == TOPOLOGY
            for component in objects(topology.get("components"))
        ]
        compatible = [pattern for item in self.component_versions for pattern in _compatible_patterns(item, wanted)]
        if not taken or not compatible:
            return None
        names = {text(metadata_of(item).get("name"), 253): item for item in self.component_definitions}
        return {name: item for name, item in names.items() if _matches(name, taken) and _matches(name, compatible)}


def find_missing_component(addon: Addon, wanted: str) -> str:
    """Return why KubeBlocks 1.x finds no ComponentDefinition for this version of PostgreSQL, "" if it finds one and
    where that can't be told."""
    fitting = addon.fitting(wanted)
    if fitting is None:
        return ""
    if not fitting:
        names = sorted(text(metadata_of(item).get("name"), 253) for item in addon.component_definitions)
        there = ", ".join(names[:6]) or "none"
        return f"No ComponentDefinition fits PostgreSQL {wanted}. There are: {there}. Repair or upgrade the addon."
    if all(_is_unavailable(item) for item in fitting.values()):
        name = min(fitting)
        return (
            f"The ComponentDefinition {name} is not available: look at `kubectl describe componentdefinition {name}`."
        )
    return ""


def _compatible_patterns(component_version: Object, wanted: str) -> list[str]:
    """Return the names or beginnings of names of the ComponentDefinitions that run the version."""
    spec = mapping(component_version.get("spec"))
    if metadata_of(component_version).get("name") != ADDON:
        return []
    releases = {
        release.get("name") for release in objects(spec.get("releases")) if release.get("serviceVersion") == wanted
    }
    found = []
    for rule in objects(spec.get("compatibilityRules")):
        if releases & {*_texts(rule.get("releases"))}:
            found += _texts(rule.get("compDefs"))
    return found


def _texts(value: object) -> list[str]:
    return [item[:100] for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is, or begins with, one of the patterns. What else a regular expression says is taken as a match:
    the patterns are KubeBlocks' to interpret."""
    for pattern in patterns:
        bare = pattern.removeprefix("^").removesuffix("$")
        literal = re.match(r"[a-z0-9.-]*", bare)
        if literal and name.startswith(literal[0].rstrip(".") if literal[0] != bare else bare):
            return True
    return False


def pods_of_components(component_definitions: Mapping[str, Object]) -> dict[str, Object]:
    """Return the Pod specs in ComponentDefinitions, by name."""
    return {
        name: runtime
        for name, item in sorted(component_definitions.items())
        if (runtime := mapping(mapping(item.get("spec")).get("runtime")))
    }


def _is_unavailable(item: Object) -> bool:
    return text(mapping(item.get("status")).get("phase")) not in ("", "Available")


def _version_key(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in version.split(".")]


def describe_repositories(repositories: Iterable[Object]) -> str:
    """Return what can be said of backups: the panel makes none, but people who use the database may."""
    found = {text(metadata_of(item).get("name"), 253): item for item in repositories}
    default = [name for name, item in found.items() if annotations_of(item).get(_DEFAULT_REPOSITORY) == "true"]
    if not found:
        return "There is no BackupRepo: databases can't be backed up by KubeBlocks."
    if len(default) != 1:
        return f"{len(default) or 'None'} of the BackupRepos ({', '.join(sorted(found)[:6])}) is the default."
    phase = text(mapping(found[default[0]].get("status")).get("phase")) or "of no phase yet"
    return f"Backups go to the BackupRepo {default[0]}, which is {phase}."
