"""The API server as a run uses it: as an operator whom no fault affects, and to read objects.

Reads go to the server's store, which is idle while a run reads: a run reads hundreds of times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver.storage.store import Store
from tests.faults.evidence import PATHS
from tests.support.rest import MERGE_PATCH, Access, Object, RefusedError, Rest

Objects = list[Object]
# Faults are set for the panel's own user, "admin".
OPERATOR = "operator"
# The store's names of the resources.
_RESOURCES = {
    plural: f"{plural}.{path.split('/')[2]}" if path.startswith("/apis") else plural for plural, path in PATHS.items()
}


@dataclass
class Api:
    """Requests to one namespace, as the operator."""

    access: Access
    store: Store
    namespace: str

    def __post_init__(self) -> None:
        self._rest = Rest(self.access, {"Impersonate-User": OPERATOR, "Impersonate-Group": "system:masters"})

    def close(self) -> None:
        self._rest.close()

    def path(self, plural: str, name: str = "") -> str:
        return f"{PATHS[plural]}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def make_namespace(self) -> None:
        self._rest.send("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def list(self, plural: str) -> Objects:
        """Return the objects of a kind in the namespace, sorted by name."""
        return [record.parse() for record in self.store.records(_RESOURCES[plural], self.namespace)]

    def list_while_busy(self, plural: str) -> Objects:
        """Return the same while others write. The store is read between two of their changes."""
        for _ in range(50):
            try:
                return self.list(plural)
            except RuntimeError:  # the store grew during the read
                continue
        raise RuntimeError(f"The store's {plural} never hold still.")

    def get(self, plural: str, name: str) -> Object | None:
        record = self.store.get(_RESOURCES[plural], self.namespace, name)
        return None if record is None else record.parse()

    def create(self, plural: str, body: Object) -> Object | None:
        """Create an object unless there is one of that name."""
        try:
            return self._rest.send("POST", self.path(plural), body)
        except RefusedError as error:
            if error.answer.status == 409:
                return None
            raise

    def patch(self, plural: str, name: str, body: Mapping[str, Any], *, subresource: str = "") -> Object:
        path = self.path(plural, name) + (f"/{subresource}" if subresource else "")
        return self._rest.send("PATCH", path, body, content_type=MERGE_PATCH)

    def delete(self, plural: str, name: str) -> None:
        try:
            self._rest.send("DELETE", self.path(plural, name), {"propagationPolicy": "Background"})
        except RefusedError as error:
            if error.answer.status != 404:
                raise
