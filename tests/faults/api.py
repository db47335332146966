"""The API server as a run uses it: as the operator whom no fault strikes, and to look at what there is.

Looks go straight to the server's store, which is idle whenever a run looks: a run makes hundreds of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

from devcluster.apiserver.storage.store import Store
from tests.faults.evidence import PATHS
from tests.support.api_server import ADMIN_TOKEN

Object = dict[str, Any]
Objects = list[Object]
MERGE = "application/merge-patch+json"
# Faults are set for the panel's own user, "admin".
OPERATOR = "operator"
# As the store calls them.
_RESOURCES = {
    plural: f"{plural}.{path.split('/')[2]}" if path.startswith("/apis") else plural for plural, path in PATHS.items()
}


class AnswerError(Exception):
    """The API server refused what a run asked of it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text[:300]}")
        self.code = code


@dataclass
class Api:
    """Requests to one namespace, as the operator."""

    url: str
    store: Store
    namespace: str
    token: str = ADMIN_TOKEN
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Object:
        answer = self._pool.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Impersonate-User": OPERATOR,
                "Impersonate-Group": "system:masters",
                "Content-Type": content_type,
            },
            timeout=10,
        )
        if answer.status >= 400:
            raise AnswerError(answer.status, answer.data.decode(errors="replace"))
        parsed: Object = json.loads(answer.data)
        return parsed

    def path(self, plural: str, name: str = "") -> str:
        return f"{PATHS[plural]}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def make_namespace(self) -> None:
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def list(self, plural: str) -> Objects:
        """Return the namespace's objects of a kind, by their names."""
        return [record.parse() for record in self.store.records(_RESOURCES[plural], self.namespace)]

    def list_while_busy(self, plural: str) -> Objects:
        """The same while others write: the store is read between two of their changes."""
        for _ in range(50):
            try:
                return self.list(plural)
            except RuntimeError:  # it grew under our hands
                continue
        raise RuntimeError(f"The store's {plural} never hold still.")

    def get(self, plural: str, name: str) -> Object | None:
        record = self.store.get(_RESOURCES[plural], self.namespace, name)
        return None if record is None else record.parse()

    def create(self, plural: str, body: Object) -> Object | None:
        """Create an object unless there is one of that name."""
        try:
            return self.request("POST", self.path(plural), body)
        except AnswerError as error:
            if error.code == 409:
                return None
            raise

    def patch(self, plural: str, name: str, body: Mapping[str, Any], *, subresource: str = "") -> Object:
        path = self.path(plural, name) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body, MERGE)

    def delete(self, plural: str, name: str) -> None:
        try:
            self.request("DELETE", self.path(plural, name), {"propagationPolicy": "Background"})
        except AnswerError as error:
            if error.code != 404:
                raise
