"""KubeBlocks and the StatefulSet controller in small steps, so that a run decides when each of them happens."""

import base64
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from provisioning.objects.names import ENDPOINT_ANNOTATION
from tests.faults.api import Api
from tests.faults.postgres import HOST, Postgres
from tests.support.rest import Object, RefusedError

_FINALIZER = "cluster.kubeblocks.io/finalizer"
_INSTANCE = "app.kubernetes.io/instance"


@dataclass
class Operator:
    """Each call of `step` advances one object. `passwords` are all passwords that it has set, `were_ready` the
    sandboxes that have been ready.

    `secret_variant` spoils Secrets that are written from now on ("late", "empty", "half"); `holds_deletions` keeps
    Clusters in Deleting; `fails` sets Clusters to Failed instead of Running. Without a `server` there are no databases;
    with one, each Cluster has a role on it, and its Service leads there.
    """

    api: Api
    rng: random.Random
    passwords: set[str] = field(default_factory=set)
    were_ready: set[str] = field(default_factory=set)
    secret_variant: str = ""
    holds_deletions: bool = False
    fails: bool = False
    server: Postgres | None = None

    def serve(self, server: Postgres) -> None:
        """Create roles on a server for all Clusters, including those that exist."""
        self.server = server
        for cluster in self.api.list("clusters"):
            name = cluster["metadata"]["name"]
            if self.api.get("secrets", secret_name(name)) is not None:
                self.write_password(name)
            if self.api.get("services", service_name(name)) is not None:
                body = {"metadata": {"annotations": self._endpoint()}}
                self.api.patch("services", service_name(name), body)

    def note_passwords(self) -> None:
        """Remember the passwords in Secrets: the panel writes them too, in a rotation."""
        if self.server is not None:
            secrets = (
                self.api.get("secrets", secret_name(item["metadata"]["name"])) for item in self.api.list("clusters")
            )
            self.passwords |= {password for secret in secrets if (password := password_of(secret))}

    def step(self) -> bool:
        """Advance one object; return False if there is nothing to do."""
        moves = [move for item in self.api.list("clusters") if (move := self._cluster_move(item))]
        moves += [move for item in self.api.list("statefulsets") if (move := self._sandbox_move(item))]
        moves += self._claims_to_remove()
        if not moves:
            return False
        self.rng.choice(moves)()
        return True

    def run(self, most: int = 100) -> None:
        """Repeat `step` until there is nothing to do."""
        for _ in range(most):
            if not self.step():
                return

    # --- Clusters --------------------------------------------------------------------------------------------------

    def _cluster_move(self, cluster: Object) -> Callable[[], Any] | None:
        metadata, status = cluster["metadata"], cluster.get("status") or {}
        name, generation = metadata["name"], metadata.get("generation", 0)
        if metadata.get("deletionTimestamp"):
            return None if self.holds_deletions else lambda: self.finish_cluster(name)
        if _FINALIZER not in (metadata.get("finalizers") or []):
            return lambda: self._write_back(cluster)
        if status.get("phase") in (None, ""):
            return lambda: self._say(cluster, "Creating")
        secret = self.api.get("secrets", secret_name(name))
        if secret is None and self.secret_variant != "late":
            return lambda: self._write_secret(cluster)
        if self.api.get("services", service_name(name)) is None:
            return lambda: self._write_service(cluster)
        if self.fails:
            return None if status["phase"] == "Failed" else lambda: self._say(cluster, "Failed")
        if status["phase"] != "Running" or status.get("observedGeneration", 0) < generation:
            return lambda: self._say(cluster, "Running")
        if secret is not None and not self.secret_variant and not _is_full(secret):
            return lambda: self.write_password(name)
        return None

    def _write_back(self, cluster: Object) -> None:
        """Add the finalizer and the values that the operator resolves: the generation increases."""
        components = [
            {**component, "componentDef": "postgresql-16-1.0.2"} for component in cluster["spec"]["componentSpecs"]
        ]
        body = {
            "metadata": {"finalizers": [_FINALIZER]},
            "spec": {"topology": "replication", "componentSpecs": components},
        }
        self.api.patch("clusters", cluster["metadata"]["name"], body)

    def _say(self, cluster: Object, phase: str) -> None:
        status = {"phase": phase, "observedGeneration": cluster["metadata"].get("generation", 1)}
        self.api.patch("clusters", cluster["metadata"]["name"], {"status": status}, subresource="status")

    def _write_secret(self, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        data = self._credentials(name)
        if self.secret_variant == "empty":
            data["password"] = ""
        elif self.secret_variant == "half":
            del data["password"]
        self.api.create("secrets", {"metadata": {"name": secret_name(name), "labels": _labels(name)}, "data": data})

    def _credentials(self, cluster: str) -> dict[str, str]:
        """Return the data of a Secret with a new password, which the server accepts from now on."""
        user, password = "postgres", self.new_password()
        if self.server is not None:
            user = cluster
            self.server.set_password(user, password)
        return {"username": _encode(user), "password": _encode(password)}

    def _endpoint(self) -> dict[str, str]:
        return {} if self.server is None else {ENDPOINT_ANNOTATION: f"{HOST}:{self.server.port}"}

    def new_password(self) -> str:
        # Characters that have to be encoded in a URL.
        password = f"canary/{self.rng.getrandbits(64):016x}@:?"
        self.passwords.add(password)
        return password

    def write_password(self, cluster: str) -> None:
        """Set the password of the account."""
        self.api.patch("secrets", secret_name(cluster), {"data": self._credentials(cluster)})

    def _write_service(self, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        ports = [{"name": "tcp-postgresql", "port": 5432}]
        metadata = {"name": service_name(name), "labels": _labels(name), "annotations": self._endpoint()}
        self.api.create("services", {"metadata": metadata, "spec": {"ports": ports}})
        claim = {
            "metadata": {"name": f"data-{name}-postgresql-0", "labels": _labels(name)},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        self.api.create("persistentvolumeclaims", claim)

    def finish_cluster(self, name: str) -> None:
        """Delete all objects of a Cluster, and then the Cluster itself."""
        for plural in ("secrets", "services", "persistentvolumeclaims"):
            for item in self.api.list(plural):
                if (item["metadata"].get("labels") or {}) == _labels(name):
                    self._remove(plural, item)
        self.api.patch("clusters", name, {"metadata": {"finalizers": None}})

    def _remove(self, plural: str, item: Object) -> None:
        name = item["metadata"]["name"]
        if item["metadata"].get("finalizers"):
            self.api.patch(plural, name, {"metadata": {"finalizers": None}})
        self.api.delete(plural, name)

    # --- sandboxes -------------------------------------------------------------------------------------------------

    def _sandbox_move(self, item: Object) -> Callable[[], Any] | None:
        metadata, status = item["metadata"], item.get("status") or {}
        name, generation = metadata["name"], metadata.get("generation", 1)
        if metadata.get("deletionTimestamp"):
            return lambda: self._release(name)
        if status.get("observedGeneration", 0) < generation:
            return lambda: self._roll(item, ready=0)
        if not status.get("readyReplicas") and self.api.get("secrets", f"{name}-env") is not None:
            return lambda: self._roll(item, ready=1)
        return None

    def _release(self, name: str) -> None:
        try:
            self.api.patch("statefulsets", name, {"metadata": {"finalizers": None}})
        except RefusedError as error:
            if error.answer.status != 404:
                raise

    def _roll(self, item: Object, *, ready: int) -> None:
        name, generation = item["metadata"]["name"], item["metadata"].get("generation", 1)
        if ready:
            self.were_ready.add(name)
        status = {"observedGeneration": generation, "replicas": 1, "readyReplicas": ready, "updatedReplicas": ready}
        self.api.patch("statefulsets", name, {"status": status}, subresource="status")
        claim = {
            "metadata": {"name": f"home-{name}-0", "labels": item["metadata"].get("labels") or {}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        self.api.create("persistentvolumeclaims", claim)

    def _claims_to_remove(self) -> list[Callable[[], Any]]:
        """Claims of sandboxes are deleted with their StatefulSet (whenDeleted: Delete); protected ones once no Pod uses
        them.
        """
        sandboxes = {item["metadata"]["name"] for item in self.api.list("statefulsets")}
        moves: list[Callable[[], Any]] = []
        for item in self.api.list("persistentvolumeclaims"):
            name = item["metadata"]["name"]
            is_orphan = name.startswith("home-") and name[len("home-") : -len("-0")] not in sandboxes
            if is_orphan or item["metadata"].get("deletionTimestamp"):
                moves.append(partial(self._remove, "persistentvolumeclaims", item))
        return moves


def secret_name(cluster: str) -> str:
    return f"{cluster}-postgresql-account-postgres"


def service_name(cluster: str) -> str:
    return f"{cluster}-postgresql-postgresql"


def _encode(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def password_of(secret: Mapping[str, Any] | None) -> str:
    return base64.b64decode(((secret or {}).get("data") or {}).get("password") or "").decode(errors="replace")


def _is_full(secret: Object) -> bool:
    data = secret.get("data") or {}
    return bool(data.get("username") and data.get("password"))


def _labels(cluster: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "kubeblocks", _INSTANCE: cluster}
