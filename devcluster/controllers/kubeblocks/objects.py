"""Builders of the objects of a Cluster: account Secrets, Services with endpoints, volume claims. Pure.

Names, labels, owners and finalizers follow recordings of KubeBlocks v1.0.2, and the source of v0.8.4 and v0.9.5 for
legacy Clusters; see states.is_legacy.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks.states import (
    component_name,
    component_of,
    is_current,
    is_legacy,
    version_of,
)
from devcluster.controllers.scenarios import SecretVariant

ACCOUNT = "postgres"
# In the order in which the operator creates their Secrets.
ACCOUNTS = ("kbadmin", "kbdataprotection", "kbmonitoring", "kbprobe", "kbreplicator", ACCOUNT)
COMPONENT_FINALIZER = "component.kubeblocks.io/finalizer"
INSTANCE_SET_FINALIZER = "instanceset.workloads.kubeblocks.io/finalizer"
# Not in KubeBlocks: the address of the database on this machine, which has no cluster network.
ENDPOINT_ANNOTATION = "controlpanel.fullstackagent.io/endpoint"
# Not in KubeBlocks: the variant of a Secret that a scenario has spoiled.
VARIANT_ANNOTATION = "kubeblocks-stand-in/variant"
PORTS = (("tcp-postgresql", 5432), ("tcp-pgbouncer", 6432))
HEADLESS_PORTS = (
    ("tcp-postgresql", 5432),
    ("patroni", 8008),
    ("tcp-pgbouncer", 6432),
    ("http-metrics", 9187),
    ("http", 3501),
    ("streaming", 3502),
    ("config-manager", 9901),
)


@dataclass(frozen=True)
class Owners:
    """The owners of the objects of a Cluster. Without Components and InstanceSets, the Cluster owns everything."""

    cluster: Object
    component: Object | None = None
    instance_set: Object | None = None

    def reference(self, owner: Object | None) -> Object:
        """Return the ownerReference to `owner`, or to the nearest one that exists."""
        found = owner or self.component or self.cluster
        return {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "name": found["metadata"]["name"],
            "uid": found["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }


def common_labels(cluster: Object) -> dict[str, str]:
    """Return the labels of all objects of a Cluster."""
    return {"app.kubernetes.io/managed-by": "kubeblocks", "app.kubernetes.io/instance": cluster["metadata"]["name"]}


def component_labels(cluster: Object) -> dict[str, str]:
    return {**common_labels(cluster), "apps.kubeblocks.io/component-name": component_name(cluster)}


def workload_name(cluster: Object) -> str:
    """Return the name of the Component and of the InstanceSet."""
    return f"{cluster['metadata']['name']}-{component_name(cluster)}"


def build_metadata(cluster: Object, name: str, labels: dict[str, str], owner: Object, finalizer: str) -> Object:
    built: Object = {
        "name": name,
        "namespace": cluster["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {**built, "finalizers": [finalizer]} if is_current(cluster) else built


def secret_name(cluster: Object, account: str = ACCOUNT) -> str:
    name = cluster["metadata"]["name"]
    if is_legacy(cluster) and component_of(cluster).get("componentDefRef"):
        return f"{name}-conn-credential"
    return f"{name}-{component_name(cluster)}-account-{account}"


def service_name(cluster: Object) -> str:
    """Return the name of the Service that selects the primary."""
    name, component = cluster["metadata"]["name"], component_name(cluster)
    return f"{name}-{component}" if is_legacy(cluster) else f"{name}-{component}-{component}"


def build_secret(owners: Owners, password: str, variant: SecretVariant = "full", account: str = ACCOUNT) -> Object:  # nosec B107 - a kind of Secret
    """Return the Secret of an account. Legacy Secrets also contain the host and port of the server."""
    cluster = owners.cluster
    values = {"username": account, "password": password}
    name = secret_name(cluster, account)
    if name.endswith("-conn-credential"):
        labels = {**common_labels(cluster), "apps.kubeblocks.io/cluster-type": "postgresql"}
        host = service_name(cluster)
        values |= {"endpoint": f"{host}:5432", "host": host, "port": "5432"}
    else:
        key = "apps.kubeblocks.io/system-account" if is_current(cluster) else "account.kubeblocks.io/name"
        labels = {**component_labels(cluster), key: account}
    match variant:
        case "empty-password":
            values["password"] = ""  # a requested fault  # nosec B105
        case "half":
            values = {"username": account}
        case "undefined":
            values = dict.fromkeys(values, "undefined")
        case "full":
            pass
    metadata = build_metadata(cluster, name, labels, owners.reference(owners.component), COMPONENT_FINALIZER)
    if variant != "full":
        metadata["annotations"] = {VARIANT_ANNOTATION: variant}
    return {
        "metadata": metadata,
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def build_service(owners: Owners, endpoint: str) -> Object:
    """Return the Service of the primary, annotated with `endpoint` (host:port, "" for none)."""
    cluster = owners.cluster
    labels = component_labels(cluster)
    phase = {"apps.kubeblocks.io/release-phase": "stable"} if is_current(cluster) else {}
    metadata = build_metadata(
        cluster, service_name(cluster), labels, owners.reference(owners.component), COMPONENT_FINALIZER
    )
    if endpoint:
        metadata["annotations"] = {ENDPOINT_ANNOTATION: endpoint}
    ports = [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in PORTS]
    selector = {**labels, **phase, "kubeblocks.io/role": "primary"}
    return {"metadata": metadata, "spec": {"type": "ClusterIP", "ports": ports, "selector": selector}}


def build_headless_service(owners: Owners) -> Object:
    """Return the Service of the Pods, which belongs to the InstanceSet and has no label of the Cluster in 1.0."""
    cluster = owners.cluster
    selector = component_labels(cluster)
    labels, listed = selector, [(name, port, name) for name, port in PORTS]
    target: list[tuple[str, int, str | int]] = list(listed)
    if is_current(cluster):
        labels = {
            "app.kubernetes.io/managed-by": "kubeblocks",
            "workloads.kubeblocks.io/instance": workload_name(cluster),
            "workloads.kubeblocks.io/managed-by": "InstanceSet",
        }
        selector = {**selector, "apps.kubeblocks.io/release-phase": "stable"}
        target = [(name, port, port) for name, port in HEADLESS_PORTS]
    owner = owners.reference(owners.instance_set)
    return {
        "metadata": build_metadata(
            cluster, f"{workload_name(cluster)}-headless", labels, owner, INSTANCE_SET_FINALIZER
        ),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "ports": [{"name": name, "port": port, "targetPort": to, "protocol": "TCP"} for name, port, to in target],
            "selector": selector,
        },
    }


def build_endpoints(cluster: Object, *, is_serving: bool) -> Object:
    """Return the EndpointSlice of the primary's Service, with one invented Pod address if `is_serving`.

    A real API server refuses loopback addresses."""
    number = zlib.crc32(cluster["metadata"]["uid"].encode())
    address = f"10.244.{number >> 8 & 255}.{number & 255 or 1}"
    name = service_name(cluster)
    labels = {
        **component_labels(cluster),
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "kubeblocks-stand-in",
    }
    return {
        "metadata": {
            "name": f"{name}-stand-in",
            "namespace": cluster["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [Owners(cluster).reference(None)],
        },
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"} for port_name, port in PORTS],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}] if is_serving else [],
    }


def build_claims(owners: Owners) -> list[Object]:
    """Return one volume claim for each replica and template, such as `data-{cluster}-{component}-0`."""
    cluster = owners.cluster
    component, workload = component_of(cluster), workload_name(cluster)
    claims: list[Object] = []
    for template in component.get("volumeClaimTemplates") or []:
        for ordinal in range(max(int(component.get("replicas") or 1), 1)):
            pod = f"{workload}-{ordinal}"
            labels = {**component_labels(cluster), "apps.kubeblocks.io/vct-name": template["name"]}
            metadata: Object = {
                "name": f"{template['name']}-{pod}",
                "namespace": cluster["metadata"]["namespace"],
                "labels": labels,
            }
            if is_current(cluster):
                metadata["ownerReferences"] = [owners.reference(owners.instance_set)]
                labels |= {
                    "app.kubernetes.io/component": str(component.get("componentDef")),
                    "apps.kubeblocks.io/pod-name": pod,
                    "apps.kubeblocks.io/release-phase": "stable",
                    "apps.kubeblocks.io/service-version": version_of(component),
                    "workloads.kubeblocks.io/instance": workload,
                    "workloads.kubeblocks.io/managed-by": "InstanceSet",
                }
            spec: Object = {"accessModes": ["ReadWriteOnce"], **(template.get("spec") or {})}
            claims.append({"metadata": metadata, "spec": spec})
    return claims
