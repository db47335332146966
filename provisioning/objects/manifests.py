"""Builds Kubernetes objects for server-side apply from plain values. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from provisioning.objects.credentials import COMPONENT
from provisioning.objects.names import ENVIRONMENT_ANNOTATION, INSTANCE_LABEL, ORIGIN_LABEL, owner_labels

Manifest = dict[str, Any]

ISSUER_ANNOTATION = "cert-manager.io/cluster-issuer"
CLUSTER_V1 = "apps.kubeblocks.io/v1"
CLUSTER_V1ALPHA1 = "apps.kubeblocks.io/v1alpha1"


# What every sandbox requests, whatever its limits.
SANDBOX_REQUESTS: Mapping[str, str] = {"cpu": "50m", "memory": "64Mi"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The project that an object belongs to."""

    kubernetes_name: str
    uid: UUID

    @property
    def labels(self) -> dict[str, str]:
        return owner_labels(self.kubernetes_name, self.uid)


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """What the panel requests from KubeBlocks. Quantities are in Kubernetes notation."""

    service_version: str
    legacy_version: str
    cpu: str
    memory: str
    storage: str
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox runs. `ports` maps a port's name to its number. With a domain, each port gets an Ingress."""

    image: str
    ports: Mapping[str, int]
    cpu: str
    memory: str
    storage: str
    storage_class: str = ""
    readiness_path: str = ""
    domain: str = ""
    ingress_class: str = ""
    tls_secret: str = ""
    cluster_issuer: str = ""
    command: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes whenever the sandbox must restart: all fields except the storage, which can't change."""
        return repr(replace(self, storage="", storage_class="", ports=dict(self.ports)))

    @property
    def scheme(self) -> str:
        return "https" if self.tls_secret or self.cluster_issuer else "http"

    @property
    def is_issued(self) -> bool:
        """Whether cert-manager issues a certificate per port. With a shared Secret, it would overwrite that with the
        certificate of one port."""
        return bool(self.cluster_issuer) and not self.tls_secret


def build_cluster(api_version: str, *, name: str, namespace: str, owner: Owner, spec: DatabaseSpec) -> Manifest:
    """Return a Cluster with one PostgreSQL for `apps.kubeblocks.io/v1` (1.0 and later) or `…/v1alpha1` (0.8, 0.9).

    The addon's topology requires the component name `postgresql`. The volume must be called `data`: any other name puts
    the data on an emptyDir.
    """
    claim: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": spec.storage}}}
    if spec.storage_class:
        claim["storageClassName"] = spec.storage_class
    quantities = {"cpu": spec.cpu, "memory": spec.memory}
    component: Manifest = {
        "name": COMPONENT,
        "replicas": 1,
        "resources": {"limits": quantities, "requests": dict(quantities)},
        "volumeClaimTemplates": [{"name": "data", "spec": claim}],
    }
    body: Manifest = {"terminationPolicy": "Delete", "componentSpecs": [component]}
    if api_version == CLUSTER_V1:
        component["serviceVersion"] = spec.service_version
        body |= {"clusterDef": "postgresql", "topology": "replication"}
    else:
        component["componentDefRef"] = "postgresql"
        body |= {"clusterDefinitionRef": "postgresql", "clusterVersionRef": spec.legacy_version}
    return {
        "apiVersion": api_version,
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace, "labels": {**owner.labels, ORIGIN_LABEL: "created"}},
        "spec": body,
    }


def build_environment_secret(name: str, namespace: str, owner: Owner, environment: Mapping[str, str]) -> Manifest:
    """Return the Secret with the environment of a sandbox."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": environment_secret_name(name), "namespace": namespace, "labels": _labels(name, owner)},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in environment.items()},
    }


def environment_secret_name(sandbox: str) -> str:
    return f"{sandbox}-env"


def _labels(sandbox: str, owner: Owner) -> dict[str, str]:
    return {**owner.labels, INSTANCE_LABEL: sandbox}


def build_service(name: str, namespace: str, owner: Owner, spec: SandboxSpec) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": _labels(name, owner)},
        "spec": {
            "selector": {INSTANCE_LABEL: name},
            "ports": [
                {"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP"}
                for port_name, port in spec.ports.items()
            ],
        },
    }


def ingress_host(sandbox: str, port_name: str, domain: str) -> str:
    return f"{sandbox}-{port_name}.{domain}"


def build_ingresses(name: str, namespace: str, owner: Owner, spec: SandboxSpec) -> list[Manifest]:
    """Return one Ingress per port; [] without a domain. The certificate comes from one shared Secret (a wildcard), or
    from cert-manager, one per port."""
    return [_build_ingress(name, namespace, owner, spec, port_name) for port_name in spec.ports if spec.domain]


def certificate_names(name: str, spec: SandboxSpec) -> list[str]:
    """Return the names of the Secrets that cert-manager creates, one per port; [] if it creates none."""
    return [_certificate_name(name, port) for port in spec.ports if spec.domain and spec.is_issued]


def _certificate_name(name: str, port_name: str) -> str:
    return f"{name}-{port_name}-tls"


def _build_ingress(name: str, namespace: str, owner: Owner, spec: SandboxSpec, port_name: str) -> Manifest:
    host = ingress_host(name, port_name, spec.domain)
    backend = {"service": {"name": name, "port": {"name": port_name}}}
    body: Manifest = {
        "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    }
    metadata: Manifest = {"name": f"{name}-{port_name}", "namespace": namespace, "labels": _labels(name, owner)}
    if spec.ingress_class:
        body["ingressClassName"] = spec.ingress_class
    if spec.scheme == "https":
        body["tls"] = [{"hosts": [host], "secretName": spec.tls_secret or _certificate_name(name, port_name)}]
    if spec.is_issued:
        metadata["annotations"] = {ISSUER_ANNOTATION: spec.cluster_issuer}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": body}


def sandbox_pod(spec: SandboxSpec) -> Manifest:
    """Return the spec of a sandbox's Pod, as far as admission looks at it."""
    owner = Owner("any", UUID(int=0))
    statefulset = build_statefulset("any", "any", owner, spec, variables=[], digest="")
    pod: Manifest = statefulset["spec"]["template"]["spec"]
    return pod


def build_statefulset(
    name: str, namespace: str, owner: Owner, spec: SandboxSpec, *, variables: list[str], digest: str
) -> Manifest:
    """Return the sandbox's StatefulSet: one Pod with its environment from the Secret, one key per variable.

    `digest` is an annotation of the object and of the Pod template, so the Pod is replaced when the environment
    changes.
    """
    secret = environment_secret_name(name)
    container: Manifest = {
        "name": "sandbox",
        "image": spec.image,
        "ports": [
            {"name": port_name, "containerPort": port, "protocol": "TCP"} for port_name, port in spec.ports.items()
        ],
        "env": [
            {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": variable}}}
            for variable in sorted(variables)
        ],
        "resources": {
            "requests": dict(SANDBOX_REQUESTS),
            "limits": {"cpu": spec.cpu, "memory": spec.memory},
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "home", "mountPath": "/home"}],
    }
    if spec.command:
        container["command"] = list(spec.command)
    if spec.ports:
        port_name = next(iter(spec.ports))
        check: Manifest = (
            {"httpGet": {"path": spec.readiness_path, "port": port_name}}
            if spec.readiness_path
            else {"tcpSocket": {"port": port_name}}
        )
        container["readinessProbe"] = {**check, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 3}
    claim: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": spec.storage}}}
    if spec.storage_class:
        claim["storageClassName"] = spec.storage_class
    labels = _labels(name, owner)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {ENVIRONMENT_ANNOTATION: digest},
        },
        "spec": {
            "replicas": 1,
            "serviceName": name,
            # OrderedReady never replaces a Pod that isn't ready, so a broken sandbox couldn't be repaired.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {INSTANCE_LABEL: name}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "template": {
                "metadata": {"labels": labels, "annotations": {ENVIRONMENT_ANNOTATION: digest}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 1001,
                        "runAsGroup": 1001,
                        "fsGroup": 1001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": 10,
                    "containers": [container],
                },
            },
            "volumeClaimTemplates": [{"metadata": {"name": "home", "labels": labels}, "spec": claim}],
        },
    }
