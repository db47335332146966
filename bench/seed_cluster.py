"""Objects of settled projects in the embedded cluster, created before a benchmark starts."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.api import CLUSTERS, SECRETS, STATEFULSETS, Api

_DOMAIN = "controlpanel.fullstackagent.io"


def fill_cluster(api: Api, rows: list[list[str]]) -> None:
    """Create a ready Cluster, Secret and StatefulSet for each project. `rows`: name, uid, Cluster, sandbox."""
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda row: _fill_one(api, *row), rows):
            pass


def _fill_one(api: Api, name: str, uid: str, cluster: str, sandbox: str) -> None:
    labels = {
        "app.kubernetes.io/managed-by": "controlpanel",
        f"{_DOMAIN}/project": name,
        f"{_DOMAIN}/project-id": uid,
        f"{_DOMAIN}/origin": "created",
    }
    api.send("POST", CLUSTERS, _cluster(cluster, labels))
    api.patch_status(CLUSTERS, cluster, {"phase": "Running", "observedGeneration": 1})
    secret_labels = {"app.kubernetes.io/managed-by": "kubeblocks", "app.kubernetes.io/instance": cluster}
    secret = {"metadata": {"name": f"{cluster}-postgresql-account-postgres", "labels": secret_labels}}
    # The KubeBlocks stand-in may have created it already.
    api.create_if_absent(SECRETS, {**secret, "stringData": {"username": "postgres", "password": "bench"}})
    api.send("POST", STATEFULSETS, _statefulset(sandbox, labels))
    api.patch_status(
        STATEFULSETS, sandbox, {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "observedGeneration": 1}
    )


def _cluster(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "apps.kubeblocks.io/v1",
        "kind": "Cluster",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "terminationPolicy": "Delete",
            "clusterDef": "postgresql",
            "topology": "replication",
            "componentSpecs": [{"name": "postgresql", "serviceVersion": "16.4.0", "replicas": 1}],
        },
    }


def _statefulset(name: str, labels: dict[str, str]) -> dict[str, Any]:
    selector = {"app.kubernetes.io/instance": name}
    return {
        "metadata": {"name": name, "labels": {**labels, **selector}},
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": selector},
                "spec": {"containers": [{"name": "sandbox", "image": "example/runtime"}]},
            },
        },
    }
