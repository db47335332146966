"""An embedded cluster as its administrator: Clusters, Secrets, operations, and bodies to create them."""

import base64
from functools import cached_property
from typing import Any

import psycopg

from devcluster.cluster import EmbeddedCluster
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import JSON, MERGE_PATCH, RefusedError, Rest, Verb
from tests.support.waiting import wait_for

CORE, APPS, CLUSTERS = "/api/v1", "/apis/apps/v1", "/apis/apps.kubeblocks.io/v1"
LEGACY_CLUSTERS = "/apis/apps.kubeblocks.io/v1alpha1"
OPERATIONS = "/apis/operations.kubeblocks.io/v1alpha1"
ENDPOINT = "controlpanel.fullstackagent.io/endpoint"


def administrator_of(cluster: EmbeddedCluster) -> Rest:
    """Return requests with the kubeconfig of a running cluster."""
    return Rest(load_kubeconfig(cluster.kubeconfig, cluster.kubeconfig.parent))


def write_password(cluster: EmbeddedCluster, secret: str, password: str) -> None:
    """Replace the password in a Secret of KubeBlocks, as its operator or a person does."""
    rest = administrator_of(cluster)
    rest.send(
        "PATCH",
        f"{CORE}/namespaces/default/secrets/{secret}",
        {"data": {"password": base64.b64encode(password.encode()).decode()}},
        content_type=MERGE_PATCH,
    )
    rest.close()


class Api:
    """Requests to one embedded cluster as its administrator."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster = cluster

    @cached_property
    def _rest(self) -> Rest:
        return administrator_of(self.cluster)

    def call(self, verb: Verb, path: str, body: Any = None, content_type: str = JSON) -> Any:
        """Return the body of the answer, or None for a 404. Raises RefusedError for any other refusal."""
        try:
            return self._rest.send(verb, path, body, content_type=content_type)
        except RefusedError as error:
            if error.answer.status == 404:
                return None
            raise

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
        return self.call("PATCH", path, body, MERGE_PATCH)

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
        """Return the first value of the first row, from a new connection with the credentials of the Cluster."""
        with psycopg.connect(self.database_url(name)) as connection:
            row = connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def operate(self, name: str, kind: str, cluster: str, **spec: Any) -> str:
        """Create an OpsRequest and wait for its end; return its last phase."""
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
    """Return a minimal spec of a v1 Cluster. None leaves a field out; `component` is merged into the component."""
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
