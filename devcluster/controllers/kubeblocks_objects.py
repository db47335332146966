"""Builders of the objects of a Cluster: account Secret, Services with endpoints, volume claims. Pure.

Names and labels follow KubeBlocks v0.8.4 and v0.9.5 (legacy) and v1.0.2; see kubeblocks_states.is_legacy.
"""

from __future__ import annotations

import base64
import zlib

from devcluster.client.client import Object
from devcluster.controllers.kubeblocks_states import component_name, component_of, is_legacy
from devcluster.controllers.scenarios import SecretVariant

ACCOUNT = "postgres"
# Not in KubeBlocks: the address of the database on this machine, which has no cluster network.
ENDPOINT_ANNOTATION = "controlpanel.fullstackagent.io/endpoint"
# Not in KubeBlocks: the last written variant of a Secret, so that a changed password is not overwritten.
VARIANT_ANNOTATION = "kubeblocks-stand-in/variant"
PORTS = (("tcp-postgresql", 5432), ("tcp-pgbouncer", 6432))


def common_labels(cluster: Object) -> dict[str, str]:
    """Return the labels of all objects of a Cluster."""
    return {"app.kubernetes.io/managed-by": "kubeblocks", "app.kubernetes.io/instance": cluster["metadata"]["name"]}


def _metadata(cluster: Object, name: str, labels: dict[str, str], annotations: dict[str, str] | None = None) -> Object:
    metadata = cluster["metadata"]
    owner = {
        "apiVersion": cluster["apiVersion"],
        "kind": cluster["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    built: Object = {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]}
    if annotations:
        built["annotations"] = annotations
    return built


def _component_labels(cluster: Object) -> dict[str, str]:
    return {**common_labels(cluster), "apps.kubeblocks.io/component-name": component_name(cluster)}


def secret_name(cluster: Object) -> str:
    name = cluster["metadata"]["name"]
    if is_legacy(cluster) and component_of(cluster).get("componentDefRef"):
        return f"{name}-conn-credential"
    return f"{name}-{component_name(cluster)}-account-{ACCOUNT}"


def service_name(cluster: Object) -> str:
    """Return the name of the Service that selects the primary."""
    name, component = cluster["metadata"]["name"], component_name(cluster)
    return f"{name}-{component}" if is_legacy(cluster) else f"{name}-{component}-{component}"


def build_secret(cluster: Object, password: str, variant: SecretVariant) -> Object:
    """Return the Secret of the superuser. Legacy Secrets also contain the host and port of the server."""
    values = {"username": ACCOUNT, "password": password}
    name = secret_name(cluster)
    if name.endswith("-conn-credential"):
        labels = {**common_labels(cluster), "apps.kubeblocks.io/cluster-type": "postgresql"}
        host = service_name(cluster)
        values |= {"endpoint": f"{host}:5432", "host": host, "port": "5432"}
    else:
        key = "account.kubeblocks.io/name" if cluster["apiVersion"].endswith("v1alpha1") else ""
        labels = {**_component_labels(cluster), key or "apps.kubeblocks.io/system-account": ACCOUNT}
    match variant:
        case "empty-password":
            values["password"] = ""  # a requested fault  # nosec B105
        case "half":
            values = {"username": ACCOUNT}
        case "undefined":
            values = dict.fromkeys(values, "undefined")
        case "full":
            pass
    return {
        "metadata": _metadata(cluster, name, labels, {VARIANT_ANNOTATION: variant}),
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def build_services(cluster: Object, endpoint: str) -> list[Object]:
    """Return the Service of the primary, annotated with `endpoint` (host:port, "" for none), and the headless one."""
    selector = _component_labels(cluster)
    ports = [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in PORTS]
    annotations = {ENDPOINT_ANNOTATION: endpoint} if endpoint else {}
    headless = f"{cluster['metadata']['name']}-{component_name(cluster)}-headless"
    return [
        {
            "metadata": _metadata(cluster, service_name(cluster), selector, annotations),
            "spec": {
                "type": "ClusterIP",
                "ports": ports,
                "selector": {**selector, "kubeblocks.io/role": "primary"},
            },
        },
        {
            "metadata": _metadata(cluster, headless, selector),
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "ports": ports,
                "selector": selector,
            },
        },
    ]


def build_endpoints(cluster: Object, *, is_serving: bool) -> Object:
    """Return the EndpointSlice of the primary's Service, with one invented Pod address if `is_serving`.

    A real API server refuses loopback addresses."""
    number = zlib.crc32(cluster["metadata"]["uid"].encode())
    address = f"10.244.{number >> 8 & 255}.{number & 255 or 1}"
    name = service_name(cluster)
    labels = {
        **_component_labels(cluster),
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "kubeblocks-stand-in",
    }
    return {
        "metadata": _metadata(cluster, f"{name}-stand-in", labels),
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"} for port_name, port in PORTS],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}] if is_serving else [],
    }


def build_claims(cluster: Object) -> list[Object]:
    """Return one volume claim for each replica and template, such as `data-{cluster}-{component}-0`."""
    component, name = component_of(cluster), cluster["metadata"]["name"]
    claims: list[Object] = []
    for template in component.get("volumeClaimTemplates") or []:
        for ordinal in range(max(int(component.get("replicas") or 1), 1)):
            claim = f"{template['name']}-{name}-{component_name(cluster)}-{ordinal}"
            labels = {**_component_labels(cluster), "apps.kubeblocks.io/vct-name": template["name"]}
            spec: Object = {"accessModes": ["ReadWriteOnce"], **(template.get("spec") or {})}
            claims.append({"metadata": {**_metadata(cluster, claim, labels), "ownerReferences": []}, "spec": spec})
    return claims
