"""Valid answers of an API server for one small project. Tests spoil them."""

import base64
from typing import Any

UID = "5d4f6a1e-3a0c-4a51-9b5c-0d7c0b3f9a11"


def encoded(**values: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


# Of a namespace, by which a cluster is known.
NAMESPACE_UID = "0a1b2c3d-0000-4000-8000-000000000003"
CLUSTER_UID = "0a1b2c3d-0000-4000-8000-000000000001"


def labels(uid: str = UID) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "controlpanel",
        "controlpanel.fullstackagent.io/project": "web",
        "controlpanel.fullstackagent.io/project-id": uid,
        "controlpanel.fullstackagent.io/origin": "created",
    }


def cluster(name: str = "web", uid: str = UID, phase: str = "Running") -> dict[str, Any]:
    return {
        "apiVersion": "apps.kubeblocks.io/v1",
        "kind": "Cluster",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": CLUSTER_UID,
            "resourceVersion": "7",
            "generation": 1,
            "labels": labels(uid),
            "annotations": {"who": "me"},
            "finalizers": ["cluster.kubeblocks.io/finalizer"],
            "creationTimestamp": "2026-11-22T15:42:25Z",
        },
        "spec": {
            "clusterDef": "postgresql",
            "componentSpecs": [{"name": "postgresql", "componentDef": "postgresql-16", "serviceVersion": "16.4.0"}],
        },
        "status": {
            "phase": phase,
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "False", "message": "not all are ready", "reason": "Waits"}],
        },
    }


def deleting_cluster() -> dict[str, Any]:
    item = cluster()
    item["metadata"]["deletionTimestamp"] = "2026-11-22T15:42:25Z"
    return item


def secret(cluster_name: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{cluster_name}-postgresql-account-postgres",
            "namespace": "default",
            "resourceVersion": "8",
            "labels": {
                "app.kubernetes.io/instance": cluster_name,
                "app.kubernetes.io/managed-by": "kubeblocks",
                "apps.kubeblocks.io/system-account": "postgres",
            },
        },
        "data": encoded(username="postgres", password="s3cret pass'word"),
    }


def legacy_secret(cluster_name: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{cluster_name}-conn-credential", "labels": {"app.kubernetes.io/instance": cluster_name}},
        "data": encoded(username="postgres", password="s3cret", host="web-postgresql", port="5432", database="app"),
    }


def service(name: str = "web-postgresql-postgresql") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {
                "controlpanel.fullstackagent.io/endpoint": "127.0.0.1:15432",
                "controlpanel.fullstackagent.io/endpoint.app": "127.0.0.1:13000",
            },
        },
        "spec": {"ports": [{"name": "postgresql", "port": 5432}, {"name": "pgbouncer", "port": 6432}]},
    }


def statefulset(name: str = "web-sandbox", uid: str = UID) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": "0a1b2c3d-0000-4000-8000-000000000002",
            "generation": 1,
            "labels": labels(uid),
            "annotations": {"controlpanel.fullstackagent.io/environment": "0" * 64},
        },
        "status": {
            "observedGeneration": 1,
            "readyReplicas": 1,
            "updatedReplicas": 1,
            "currentRevision": "a",
            "updateRevision": "a",
        },
    }


def pod() -> dict[str, Any]:
    return {
        "metadata": {"name": "web-sandbox-0"},
        "status": {
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
            "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
        },
    }


def pods() -> list[dict[str, Any]]:
    """Pods in trouble, with every part that is read."""
    ended = {"reason": "OOMKilled", "exitCode": 137, "message": "gone", "finishedAt": "2026-11-22T15:42:25Z"}
    running = {"name": "app", "ready": True, "restartCount": 2, "state": {"running": {}}, "lastState": {}}
    lost = {
        "metadata": {"name": "web-0", "deletionTimestamp": "2026-11-22T15:42:25Z", "finalizers": ["a/b"]},
        "spec": {"nodeName": "node-1", "readinessGates": []},
        "status": {
            "phase": "Running",
            "containerStatuses": [running],
            "conditions": [{"type": "Ready", "status": "False"}],
        },
    }
    restarted = {
        "metadata": {"name": "web-1", "labels": {"kubeblocks.io/role": "primary"}},
        "status": {
            "initContainerStatuses": [{"name": "init", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
            "containerStatuses": [{**running, "ready": False, "lastState": {"terminated": ended}}],
        },
    }
    evicted = {"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}}
    return [pod(), lost, restarted, evicted]


def claim() -> dict[str, Any]:
    return {
        "metadata": {"name": "data-web-0"},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": "Pending"},
    }


def event() -> dict[str, Any]:
    return {
        "metadata": {"name": "web-0.1", "creationTimestamp": "2026-11-22T15:42:25Z"},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": 'create Pod web-0 failed error: pods "web-0" is forbidden: exceeded quota: small',
        "lastTimestamp": "2026-11-22T15:42:26Z",
        "series": {"lastObservedTime": "2026-11-22T15:42:27.000001Z"},
    }


def listing(kind: str, *items: Any) -> dict[str, Any]:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": list(items)}


def not_found(plural: str, name: str) -> dict[str, Any]:
    return refusal(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)


def refusal(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }
