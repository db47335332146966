"""A small asynchronous client of a Kubernetes API server, for the stand-ins.

It works with the embedded server and with a real kube-apiserver. Objects are plain dicts, as parsed from JSON.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

Object = dict[str, Any]

PAGE_SIZE = 500
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Resource:
    """A resource of the API: `Resource("apps", "v1", "statefulsets", "StatefulSet")`. The core group is ""."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path. Without a namespace: the path of the collection over all namespaces."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)


PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICES = Resource("", "v1", "services", "Service")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
EVENTS = Resource("", "v1", "events", "Event")
STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")


class ApiError(Exception):
    """The API server refused a request. `status` is the HTTP code, `reason` that of the Status object, or ""."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404: the object, or the whole resource, does not exist."""


class ConflictError(ApiError):
    """409: a stale resourceVersion, an existing object, or a field of another manager (see `reason`)."""


class GoneError(ApiError):
    """410: the resourceVersion of a watch or a page is too old; list again."""


def _error(status: int, body: bytes) -> ApiError:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    fields = parsed if isinstance(parsed, dict) else {}
    reason = str(fields.get("reason") or "")
    message = str(fields.get("message") or body[:300].decode(errors="replace"))
    kinds: Mapping[int, type[ApiError]] = {404: NotFoundError, 409: ConflictError, 410: GoneError}
    return kinds.get(status, ApiError)(status, reason, message)


@dataclass(frozen=True)
class Connection:
    """URL and credentials of an API server. `ssl_context` is None for plain HTTP."""

    url: str
    token: str = ""
    ssl_context: ssl.SSLContext | None = None


class KubeClient:
    """A client of one API server with one identity. Use it as `async with`; tasks of one event loop can share it."""

    def __init__(self, connection: Connection, *, user_agent: str, request_timeout_s: float = 15.0) -> None:
        self.connection = connection
        self.headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if connection.token:
            self.headers["Authorization"] = f"Bearer {connection.token}"
        self._timeout = aiohttp.ClientTimeout(total=request_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=64, ssl=self.connection.ssl_context or True)
        # No trust_env: a proxy of the environment can't reach the API server of this process.
        self._session = aiohttp.ClientSession(headers=self.headers, connector=connector, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("KubeClient is used outside of its `async with` block.")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send a request and return the parsed body. Raises ApiError, aiohttp.ClientError or TimeoutError."""
        headers = self.headers if body is None else {**self.headers, "Content-Type": content_type}
        raw = b"" if body is None else orjson.dumps(body)
        status, answer = await self.exchange(method, path, query or {}, headers, raw)
        return parse_answer(method, path, status, answer)

    async def exchange(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Send a request. Return the status and the body of the response."""
        async with self.session.request(
            method, self.connection.url + path, params=query, data=body or None, headers=headers, timeout=self._timeout
        ) as response:
            return response.status, await response.read()

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        return await self.request("GET", resource.path(namespace, name))

    async def get_or_none(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """Return the object; None if the API server responds with 404. Other errors are raised."""
        try:
            return await self.get(resource, name, namespace)
        except NotFoundError:
            return None

    async def list_all(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return all objects, read in pages, and the resourceVersion to watch from. Adds apiVersion and kind, which
        lists omit."""
        items: list[Object] = []
        token = ""  # none yet  # nosec B105
        while True:
            query = {"limit": str(PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields, "continue": token}
            page = await self.request(
                "GET", resource.path(namespace), query={key: value for key, value in query.items() if value}
            )
            items.extend(
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page.get("items") or []
            )
            token = page["metadata"].get("continue") or ""
            if not token:
                return items, page["metadata"]["resourceVersion"]

    async def create(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        return await self.request("POST", resource.path(namespace), body=_typed(resource, body))

    async def apply(
        self, resource: Resource, body: Object, *, field_manager: str, subresource: str | None = None
    ) -> Object:
        """Server-side apply with force: take ownership of the fields in `body`, remove owned fields that it omits."""
        metadata = body["metadata"]
        return await self.request(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"], subresource),
            query={"fieldManager": field_manager, "force": "true"},
            body=_typed(resource, body),
            content_type=APPLY_PATCH,
        )

    async def merge_patch(
        self, resource: Resource, name: str, namespace: str | None, patch: Object, *, subresource: str | None = None
    ) -> Object:
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body=patch, content_type=MERGE_PATCH
        )

    async def json_patch(self, resource: Resource, name: str, namespace: str | None, steps: list[Object]) -> Object:
        return await self.request("PATCH", resource.path(namespace, name), body=steps, content_type=JSON_PATCH)

    async def patch_status(self, resource: Resource, name: str, namespace: str | None, status: Object) -> Object:
        """Merge `status` into the status of the object. None removes a key."""
        return await self.merge_patch(resource, name, namespace, {"status": status}, subresource="status")

    async def replace_status(self, resource: Resource, name: str, namespace: str | None, status: Object) -> Object:
        """Replace the whole status of the object."""
        steps = [{"op": "add", "path": "/status", "value": status}]
        return await self.request(
            "PATCH", resource.path(namespace, name, "status"), body=steps, content_type=JSON_PATCH
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> bool:
        """Delete an object. Return False if it does not exist, or if it has another uid than `uid`."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        try:
            await self.request("DELETE", resource.path(namespace, name), body=options)
        except NotFoundError:
            return False
        except ConflictError:
            if uid:
                return False
            raise
        return True

    async def served_version(self, group: str, plural: str, preferred: tuple[str, ...]) -> str | None:
        """Return the first of the `preferred` versions in which discovery lists the resource; None if there is none."""
        for version in preferred:
            try:
                found = await self.request("GET", f"/apis/{group}/{version}")
            except NotFoundError:
                continue
            if any(entry.get("name") == plural for entry in found.get("resources") or []):
                return version
        return None

    async def watch(
        self, resource: Resource, *, resource_version: str, labels: str = "", fields: str = "", timeout_s: int = 300
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) of events after `resource_version` in all namespaces, until the server ends the watch.

        Raises GoneError if the version is too old, by the HTTP status or by an ERROR event.
        """
        query = {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
        }
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        # A total timeout detects connections that break silently.
        timeout = aiohttp.ClientTimeout(total=timeout_s + 30, sock_connect=10)
        async with self.session.get(self.connection.url + resource.path(), params=query, timeout=timeout) as response:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    if not line.strip():
                        continue
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _error(int(event["object"].get("code") or 500), json.dumps(event["object"]).encode())
                    yield event["type"], event["object"]


def parse_answer(method: str, path: str, status: int, raw: bytes) -> Object:
    """Return the body of a response. ApiError for an error status, or if the body is no object."""
    if status >= 400:
        raise _error(status, raw)
    parsed = orjson.loads(raw)
    if not isinstance(parsed, dict):
        raise ApiError(502, "InternalError", f"{method} {path} answered with something that is not an object.")
    return parsed


def _typed(resource: Resource, body: Object) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}
