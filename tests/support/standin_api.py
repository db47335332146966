"""What the tests of the stand-ins share: a blocking client, bodies, and a wait that says what it saw last."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg

from devcluster.cluster import EmbeddedCluster

CORE, APPS, CLUSTERS = "/api/v1", "/apis/apps/v1", "/apis/apps.kubeblocks.io/v1"
LEGACY_CLUSTERS = "/apis/apps.kubeblocks.io/v1alpha1"
OPERATIONS = "/apis/operations.kubeblocks.io/v1alpha1"
ENDPOINT = "controlpanel.fullstackagent.io/endpoint"


def wait_for(look: Callable[[], Any], accept: Callable[[Any], Any], *, timeout_s: float = 10.0) -> Any:
    """Look until `accept` holds; AssertionError with the last thing seen after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if accept(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout_s} s; last seen: {json.dumps(seen, default=str)[:3000]}")
        time.sleep(0.02)


class Api:
    """One embedded cluster, as its administrator."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster = cluster

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The parsed answer, or None for a 404. Any other refusal raises with the server's message."""
        request = urllib.request.Request(  # noqa: S310 - a URL of our own
            self.cluster.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.cluster.token}", "Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from error

    def get(self, prefix: str, plural: str, name: str = "", namespace: str = "default") -> Any:
        return self.call("GET", f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else ""))

    def create(self, prefix: str, plural: str, kind: str, body: Any, namespace: str = "default") -> Any:
        api_version = prefix.removeprefix("/apis/").removeprefix("/api/")
        return self.call(
            "POST",
            f"{prefix}/namespaces/{namespace}/{plural}",
            {"apiVersion": api_version, "kind": kind, **body},
        )

    def patch(self, prefix: str, plural: str, name: str, body: Any, namespace: str = "default") -> Any:
        path = f"{prefix}/namespaces/{namespace}/{plural}/{name}"
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def delete(self, prefix: str, plural: str, name: str) -> Any:
        return self.call("DELETE", f"{prefix}/namespaces/default/{plural}/{name}")

    def create_cluster(self, name: str, **spec: Any) -> Any:
        return self.create(CLUSTERS, "clusters", "Cluster", {"metadata": {"name": name}, "spec": cluster_spec(**spec)})

    def cluster_object(self, name: str) -> Any:
        return self.get(CLUSTERS, "clusters", name)

    def phase(self, name: str, prefix: str = CLUSTERS) -> str:
        found = self.get(prefix, "clusters", name)
        return "gone" if found is None else found.get("status", {}).get("phase", "")

    def wait_phase(self, name: str, phase: str, *, prefix: str = CLUSTERS, timeout_s: float = 10.0) -> None:
        wait_for(lambda: self.phase(name, prefix), lambda seen: seen == phase, timeout_s=timeout_s)

    def secret(self, name: str) -> dict[str, str] | None:
        found = self.get(CORE, "secrets", name)
        if found is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def database_url(self, name: str) -> str:
        secret = self.secret(f"{name}-postgresql-account-postgres")
        endpoint = self.get(CORE, "services", f"{name}-postgresql-postgresql")["metadata"]["annotations"][ENDPOINT]
        assert secret is not None
        return f"postgresql://{secret['username']}:{secret['password']}@{endpoint}/postgres?connect_timeout=3"

    def query(self, name: str, statement: str) -> Any:
        """The first value of the first row, by a new connection with the credentials of the Cluster."""
        with psycopg.connect(self.database_url(name)) as connection:
            row = connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def operate(self, name: str, kind: str, cluster: str, **spec: Any) -> str:
        """Create an OpsRequest and wait for its end; its last phase."""
        body = {"metadata": {"name": name}, "spec": {"clusterName": cluster, "type": kind, **spec}}
        self.create(OPERATIONS, "opsrequests", "OpsRequest", body)
        ended = wait_for(
            lambda: self.get(OPERATIONS, "opsrequests", name).get("status", {}),
            lambda status: status.get("phase") in ("Succeed", "Failed"),
        )
        return str(ended["phase"])

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        status = (self.cluster_object(name) or {}).get("status", {})
        return next((found for found in status.get("conditions", []) if found["type"] == kind), {})


def cluster_spec(**changes: Any) -> dict[str, Any]:
    """A minimal v1 Cluster's spec; None leaves a field out, `component` is merged into the component's."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    component = {
        "name": "postgresql",
        "serviceVersion": "16.4.0",
        "replicas": 1,
        "volumeClaimTemplates": [{"name": "data", "spec": claim}],
    }
    component.update(changes.pop("component", {}))
    spec = {
        "clusterDef": "postgresql",
        "topology": "replication",
        "terminationPolicy": "Delete",
        "componentSpecs": [component],
        **changes,
    }
    return {key: value for key, value in spec.items() if value is not None}
