"""Checks of the cluster: whether the next provisioning would find what it needs."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from django.conf import settings

from provisioning.decisions.cluster_needs import (
    Addon,
    build_demand,
    describe_repositories,
    find_missing_class,
    find_missing_component,
    find_missing_definition,
    find_missing_legacy_version,
    find_missing_version,
    find_shortages,
    pods_of_components,
)
from provisioning.decisions.pod_admission import Amounts, enforced_level, find_limit_conflicts, find_violations
from provisioning.kube.client import Kube
from provisioning.kube.errors import KubeError, RefusedError
from provisioning.kube.kinds import CLUSTER_GROUP, LIMIT_RANGE, NAMESPACE, RESOURCE_QUOTA, SECRET, Kind
from provisioning.management.findings import Finding, failed, ok, warning
from provisioning.management.image_registry import examine_image
from provisioning.objects.manifests import (
    CLUSTER_V1,
    SANDBOX_REQUESTS,
    Owner,
    SandboxSpec,
    build_cluster,
    build_environment_secret,
    sandbox_pod,
)
from provisioning.objects.names import build_database_name
from provisioning.objects.readers import Object
from provisioning.objects.refusals import Cause
from provisioning.reconcile.apply_database import build_database_spec

_STORAGE_CLASS = Kind("storage.k8s.io/v1", "storageclasses", "StorageClass")
_COMPONENT_VERSION = Kind(f"{CLUSTER_GROUP}/v1", "componentversions", "ComponentVersion")
_COMPONENT_DEFINITION = Kind(f"{CLUSTER_GROUP}/v1", "componentdefinitions", "ComponentDefinition")
_CLUSTER_VERSION = Kind(f"{CLUSTER_GROUP}/v1alpha1", "clusterversions", "ClusterVersion")
_REPOSITORY = Kind("dataprotection.kubeblocks.io/v1alpha1", "backuprepos", "BackupRepo")
# Listed in the whole cluster, if the account has the permission.
CLUSTER_WIDE = (
    _STORAGE_CLASS,
    Kind(f"{CLUSTER_GROUP}/v1", "clusterdefinitions", "ClusterDefinition"),
    _COMPONENT_VERSION,
    _COMPONENT_DEFINITION,
    _CLUSTER_VERSION,
    _REPOSITORY,
)
# Certificates and tokens are valid from the second in which they were made.
_SKEW_WARNED_S, _SKEW_FAILED_S = 5.0, 60.0
# The owner in manifests that are only sent as dry runs.
_OWNER = Owner("doctor", UUID(int=0))
_UNCHOSEN = "x" * 6


class _UnreadableError(Exception):
    """The account lacks the permission to list a kind."""


def examine_next_provisioning(kube: Kube, cluster: Kind, namespace: str, sandbox: SandboxSpec) -> Iterator[Finding]:
    """Yield findings about what this sandbox and its database would need in the namespace. `cluster`: the kind that is
    served. Raises KubeError."""
    yield _examine_clock(kube)
    yield _examine_namespace(kube, cluster, namespace)
    yield _examine_quotas(kube, namespace, sandbox)
    yield _examine_limits(kube, namespace, sandbox)
    # The embedded cluster has its own volumes and one version of PostgreSQL.
    if not settings.EMBEDDED_CLUSTER:
        yield _examine_storage(kube, sandbox)
        yield _examine_version(kube, cluster)
        yield _examine_pod_security(kube, cluster, namespace, sandbox)
        yield examine_image(sandbox.image, "sandboxes")
        yield _examine_backups(kube)


def examine_further_namespace(kube: Kube, cluster: Kind, namespace: str, sandbox: SandboxSpec) -> Iterator[Finding]:
    """Yield findings about another allowed namespace, which is part of each subject. Raises KubeError."""
    for finding in (
        _examine_namespace(kube, cluster, namespace),
        _examine_quotas(kube, namespace, sandbox),
        _examine_limits(kube, namespace, sandbox),
    ):
        yield replace(finding, subject=f"{finding.subject} of {namespace}")


def _examine_clock(kube: Kube) -> Finding:
    skew_s = kube.clock_skew_s()
    if skew_s is None:
        return warning("clock", "Unknown: the API server sends no time.")
    if abs(skew_s) <= _SKEW_WARNED_S:
        return ok("clock", "The clocks of the panel and of the API server agree.")
    message = (
        f"The API server's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} this one, so "
        "certificates and tokens may be refused as expired or not valid yet. Synchronize both with NTP."
    )
    return (failed if abs(skew_s) > _SKEW_FAILED_S else warning)("clock", message)


def _examine_namespace(kube: Kube, cluster: Kind, namespace: str) -> Finding:
    """Send the first objects of a provisioning as a dry run, through admission, quotas and validation."""
    name = build_database_name(_OWNER.kubernetes_name, _UNCHOSEN)
    manifests = (
        (SECRET, build_environment_secret(name, namespace, _OWNER, {})),
        (
            cluster,
            build_cluster(
                cluster.api_version, name=name, namespace=namespace, owner=_OWNER, spec=build_database_spec()
            ),
        ),
    )
    for kind, manifest in manifests:
        try:
            kube.apply(manifest, kind.plural, is_dry_run=True)
        except RefusedError as error:
            if error.cause is Cause.NAMESPACE_MISSING:
                return failed(
                    "namespace",
                    f"The namespace {namespace} does not exist. Create it (`kubectl create namespace {namespace}`), or "
                    "correct KUBE_NAMESPACE or ALLOWED_NAMESPACES.",
                )
            return failed("namespace", f"A {kind.name} in namespace {namespace} would be refused: {error}")
    return ok("namespace", f"A project's Secret and Cluster would be accepted in namespace {namespace}.")


def _list(kube: Kube, kind: Kind, namespace: str | None = None) -> list[Object]:
    """Return all objects, none if the kind is not served. Raises KubeError and _UnreadableError."""
    if not kube.may("list", kind, namespace or ""):
        raise _UnreadableError(
            f"Unknown: no right to list {kind.plural}. docs/deploy.md#permissions describes how to allow it."
        )
    try:
        return kube.list_objects(kind, namespace)
    except RefusedError as error:
        if error.cause is Cause.UNSERVED:
            return []
        raise


def _examine_quotas(kube: Kube, namespace: str, sandbox: SandboxSpec) -> Finding:
    try:
        quotas = _list(kube, RESOURCE_QUOTA, namespace)
    except _UnreadableError as error:
        return warning("quota", str(error))
    if shortages := find_shortages(quotas, build_demand(build_database_spec(), sandbox)):
        return failed("quota", f"The ResourceQuota {'; '.join(shortages[:3])}. Raise it, or delete projects.")
    there = f"{len(quotas)} ResourceQuota{'s'[: len(quotas) != 1]} of namespace {namespace}"
    return ok("quota", f"{there} leave room for another project." if quotas else f"{there} limit nothing.")


def _examine_limits(kube: Kube, namespace: str, sandbox: SandboxSpec) -> Finding:
    try:
        ranges = _list(kube, LIMIT_RANGE, namespace)
    except _UnreadableError as error:
        return warning("limits", str(error))
    database = build_database_spec()
    amounts = {"cpu": database.cpu, "memory": database.memory}
    containers = {
        "a database": Amounts(amounts, amounts),
        "a sandbox": Amounts(SANDBOX_REQUESTS, {"cpu": sandbox.cpu, "memory": sandbox.memory}),
    }
    claims = {"the volume of a database": database.storage, "the volume of a sandbox": sandbox.storage}
    if conflicts := find_limit_conflicts(ranges, containers, claims):
        return failed("limits", f"The LimitRange {'; '.join(conflicts[:3])}. Change it, or the amounts.")
    there = f"{len(ranges)} LimitRange{'s'[: len(ranges) != 1]} of namespace {namespace}"
    return ok("limits", f"{there} allow a database and a sandbox." if ranges else f"{there} limit nothing.")


def _examine_pod_security(kube: Kube, cluster: Kind, namespace: str, sandbox: SandboxSpec) -> Finding:
    """Compare the Pods of a sandbox and of a database with the Pod Security Standard that the namespace enforces."""
    if not kube.may("get", NAMESPACE, namespace):
        return warning("pod security", f"Unknown: no right to get the namespace {namespace}.")
    try:
        level = enforced_level(kube.get_or_none(NAMESPACE, None, namespace))
    except RefusedError as error:
        if error.cause is not Cause.NAMESPACE_MISSING:
            raise
        return warning("pod security", f"Unknown: the namespace {namespace} does not exist.")
    if not level:
        return ok("pod security", f"The namespace {namespace} enforces no Pod Security Standard.")
    pods: dict[str, Object] = {"sandboxes": sandbox_pod(sandbox)}
    unknown = ""
    if cluster.api_version == CLUSTER_V1:
        try:
            fitting = pods_of_components(_read_addon(kube).fitting(settings.POSTGRES_VERSION) or {})
            pods |= {f"the ComponentDefinition {name}": pod for name, pod in fitting.items()}
            unknown = "" if fitting else " Pods of databases: Unknown, no ComponentDefinition describes them."
        except _UnreadableError as error:
            unknown = f" Pods of databases: {error}"
    for whose, pod in pods.items():
        if violations := find_violations(pod, level):
            return failed(
                "pod security",
                f"The namespace {namespace} enforces the Pod Security Standard {level}, which refuses the Pods of "
                f"{whose}: {', '.join(violations[:4])}. Enforce a lower level there.",
            )
    fits = f"Pods of {' and '.join(pods)} meet the Pod Security Standard {level} of namespace {namespace}.{unknown}"
    return warning("pod security", fits) if unknown else ok("pod security", fits)


def _examine_storage(kube: Kube, sandbox: SandboxSpec) -> Finding:
    try:
        classes = _list(kube, _STORAGE_CLASS)
    except _UnreadableError as error:
        return warning("storage", str(error))
    wanted = {"DATABASE_STORAGE_CLASS": settings.DATABASE_STORAGE_CLASS, "SANDBOX_STORAGE_CLASS": sandbox.storage_class}
    for setting, name in wanted.items():
        if missing := find_missing_class(classes, name):
            return failed("storage", f"{missing} Set {setting}, or create the class. Without it, volumes stay Pending.")
    return ok("storage", "The StorageClasses of databases and sandboxes exist.")


def _read_addon(kube: Kube) -> Addon:
    """Raises KubeError and _UnreadableError."""
    definition = Kind(CLUSTER_V1, "clusterdefinitions", "ClusterDefinition")
    return Addon(*(_list(kube, kind) for kind in (definition, _COMPONENT_DEFINITION, _COMPONENT_VERSION)))


def _examine_version(kube: Kube, cluster: Kind) -> Finding:
    is_current = cluster.api_version == CLUSTER_V1
    definition = Kind(cluster.api_version, "clusterdefinitions", "ClusterDefinition")
    try:
        missing = find_missing_definition(_list(kube, definition), cluster.api_version)
        if not missing and is_current:
            missing = find_missing_version(_list(kube, _COMPONENT_VERSION), settings.POSTGRES_VERSION)
            missing = missing or find_missing_component(_read_addon(kube), settings.POSTGRES_VERSION)
        elif not missing:
            missing = find_missing_legacy_version(_list(kube, _CLUSTER_VERSION), settings.POSTGRES_VERSION_LEGACY)
    except _UnreadableError as error:
        return warning("version", str(error))
    if missing:
        return failed("version", missing)
    offered = settings.POSTGRES_VERSION if is_current else settings.POSTGRES_VERSION_LEGACY
    return ok("version", f"The addon offers {offered}.")


def _examine_backups(kube: Kube) -> Finding:
    """For information: the panel itself makes no backups."""
    try:
        return ok("backups", describe_repositories(_list(kube, _REPOSITORY)))
    except (_UnreadableError, KubeError) as error:
        return warning("backups", str(error))
