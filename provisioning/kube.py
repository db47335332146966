"""The only module that talks to Kubernetes: raw JSON over the official client's configuration and connection pool.

The client's typed models are left aside: they cost 18 times a `json.loads`, and refuse answers that lack a field.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3
from django.conf import settings

from controlpanel.redaction import redact
from provisioning.kube_access import AccessError, explain_unreachable, load_configuration, open_pool
from provisioning.readiness import mapping, metadata_of, number, objects, text

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

FIELD_MANAGER = "controlpanel"
_PAGE_SIZE = 500
# A request of a pass must end well within the pass's lease.
_CONNECT_TIMEOUT_S = 3.0
_DISCOVERY_VALID_S = 300.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind as its address needs it."""

    api_version: str
    plural: str
    name: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str | None = None) -> str:
        parts = ["api" if "/" not in self.api_version else "apis", self.api_version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        return "/" + "/".join(parts)


SECRET = Kind("v1", "secrets", "Secret")
SERVICE = Kind("v1", "services", "Service")
POD = Kind("v1", "pods", "Pod")
PVC = Kind("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
STATEFULSET = Kind("apps/v1", "statefulsets", "StatefulSet")
INGRESS = Kind("networking.k8s.io/v1", "ingresses", "Ingress")
CLUSTER_GROUP = "apps.kubeblocks.io"


def cluster_kind(api_version: str) -> Kind:
    return Kind(api_version, "clusters", "Cluster")


class KubeError(Exception):
    """A request to the API server failed; the text is a sentence for people and holds no secret."""


class UnreachableError(KubeError):
    """No answer: whether the request had an effect is unknown."""


class NotConfiguredError(KubeError):
    """There is no usable kubeconfig."""


class RefusedError(KubeError):
    """The API server answered with an error status: its code, reason, and Retry-After in seconds if it sent one."""

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.retry_after_s = code, reason, retry_after_s


class WatchExpiredError(KubeError):
    """410: the resource version is too old; list again."""


_HINTS = {
    401: "The panel's token was not accepted: renew it in the kubeconfig.",
    403: "The panel's account lacks this permission: run `manage.py doctor` and extend its Role.",
    429: "The API server is overloaded; the panel tries again by itself.",
}


def _refusal(status: int, body: bytes, headers: Mapping[str, str]) -> RefusedError:
    """Turn an error answer into a RefusedError, whatever its body is."""
    try:
        answer = mapping(json.loads(body))
    except ValueError:
        answer = {}
    said = redact(text(answer.get("message")) or body[:200].decode("utf-8", "replace").strip() or "no message")
    hint = _HINTS.get(status, "")
    retry_after = headers.get("Retry-After", "")
    return RefusedError(
        status,
        text(answer.get("reason")) or str(status),
        f"The API server answered {status}: {said}" + (f" {hint}" if hint else ""),
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch: type (ADDED, MODIFIED, DELETED, BOOKMARK) and the object."""

    type: str
    object: Mapping[str, Any]


class Kube:
    """Requests to one API server. Thread-safe; make it after a fork."""

    def __init__(self, configuration: "Configuration") -> None:
        self._configuration = configuration
        self._pool = open_pool(configuration)
        self._served: tuple[float, tuple[str, ...]] = (0.0, ())

    @property
    def host(self) -> str:
        return str(self._configuration.host)

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "controlpanel"}
        # Re-reads a rotated token where the configuration comes with a hook for it.
        token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        read_timeout_s: float | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = self.host + path + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=read_timeout_s or settings.KUBE_REQUEST_TIMEOUT_S)
        attempts = 2
        while True:
            attempts -= 1
            try:
                return self._pool.request(
                    method,
                    url,
                    body=None if body is None else json.dumps(body).encode(),
                    headers=self._headers(content_type if body is not None else None),
                    timeout=timeout,
                    preload_content=not stream,
                    retries=False,
                )
            except urllib3.exceptions.ProtocolError as error:
                # A kept-alive connection that the server closed meanwhile. Every request here may be sent twice.
                if not attempts:
                    raise self._unreachable(error) from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> UnreachableError:
        why = explain_unreachable(error, self._configuration.proxy)
        return UnreachableError(f"The API server {self.host} can't be reached: {why}. The panel tries again by itself.")

    def _json(self, response: urllib3.BaseHTTPResponse) -> Mapping[str, Any]:
        if response.status >= 400:
            if response.status == 401:
                disconnect()  # the login may have been renewed: the next `connect` reads it anew
            raise _refusal(response.status, response.data, response.headers)
        try:
            return mapping(json.loads(response.data))
        except ValueError:
            raise UnreachableError(f"The API server {self.host} sent an answer that is not JSON.") from None

    def _request(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        return self._json(self._send(method, path, **options))

    # --- reading -----------------------------------------------------------------------------------------------

    def get_or_none(self, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return the object, or None if it does not exist. Raises KubeError."""
        try:
            return self._request("GET", kind.path(namespace, name))
        except RefusedError as error:
            if error.code == 404 and error.reason == "NotFound":
                return None
            raise

    def list_page(self, kind: Kind, namespace: str | None, query: Mapping[str, str]) -> Mapping[str, Any]:
        return self._request("GET", kind.path(namespace), query=query)

    def list_objects(self, kind: Kind, namespace: str | None, *, labels: str = "") -> list[Mapping[str, Any]]:
        """Return every object of a kind that the label selector matches. Raises KubeError."""
        return self.list_with_version(kind, namespace, labels=labels)[0]

    def list_with_version(
        self, kind: Kind, namespace: str | None, *, labels: str = ""
    ) -> tuple[list[Mapping[str, Any]], str]:
        """Return the objects and the resource version to watch from."""
        items: list[Mapping[str, Any]] = []
        query = {"limit": str(_PAGE_SIZE), **({"labelSelector": labels} if labels else {})}
        while True:
            page = self.list_page(kind, namespace, query)
            items += objects(page.get("items"))
            following = text(metadata_of(page).get("continue"), 10_000)
            if not following:
                return items, text(metadata_of(page).get("resourceVersion"))
            query["continue"] = following

    def watch(
        self, kind: Kind, namespace: str | None, *, labels: str, resource_version: str, timeout_s: int
    ) -> Iterator[WatchEvent]:
        """Yield events until the server ends the watch after `timeout_s`. Raises WatchExpiredError on 410."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            **({"labelSelector": labels} if labels else {}),
        }
        # The server ends the watch; a connection that is silent for longer than that is dead.
        response = self._send("GET", kind.path(namespace), query=query, read_timeout_s=timeout_s + 15, stream=True)
        try:
            if response.status >= 400:
                refusal = _refusal(response.status, response.read(65_536), response.headers)
                raise WatchExpiredError(str(refusal)) if refusal.code == 410 else refusal
            buffer = b""
            for chunk in response.stream(65_536, decode_content=True):
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _watch_event(line)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            response.close()
            response.release_conn()

    # --- writing -----------------------------------------------------------------------------------------------

    def apply(self, manifest: Mapping[str, Any], plural: str, *, force: bool = True) -> Mapping[str, Any]:
        """Server-side apply: create the object, or make its fields as given. Idempotent. Raises KubeError.

        Unknown fields are refused, not dropped in silence (`fieldValidation=Strict`).
        """
        metadata = metadata_of(manifest)
        kind = Kind(str(manifest["apiVersion"]), plural, str(manifest["kind"]))
        return self._request(
            "PATCH",
            kind.path(str(metadata["namespace"]), str(metadata["name"])),
            query={"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"},
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    def merge_labels(
        self, kind: Kind, namespace: str, name: str, labels: Mapping[str, str | None], *, uid: str
    ) -> Mapping[str, Any]:
        """Set (or with None remove) labels of the object with that uid. Raises RefusedError 409 if it is another."""
        return self._request(
            "PATCH",
            kind.path(namespace, name),
            query={"fieldManager": FIELD_MANAGER},
            body={"metadata": {"uid": uid, "labels": dict(labels)}},
            content_type="application/merge-patch+json",
        )

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> bool:
        """Ask for deletion, in the background; return False if it was gone already. Raises KubeError.

        With `uid`, only that very object is deleted (409 otherwise).
        """
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._request("DELETE", kind.path(namespace, name), body=body)
        except RefusedError as error:
            if error.code == 404:
                return False
            raise
        return True

    # --- discovery ---------------------------------------------------------------------------------------------

    def version(self) -> str:
        return text(self._request("GET", "/version").get("gitVersion"))

    def cluster_api_version(self, written: str = "") -> str:
        """Return the Cluster API to use: `written`, that of an object, while it is served, else v1 before v1alpha1.

        Asked anew every few minutes: KubeBlocks may be upgraded beneath us. RefusedError 404 if none is served.
        """
        asked_at, served = self._served
        if not served or time.monotonic() - asked_at > _DISCOVERY_VALID_S:
            group = self._request("GET", f"/apis/{CLUSTER_GROUP}")
            served = tuple(text(version.get("groupVersion")) for version in objects(group.get("versions")))
            self._served = (time.monotonic(), served)
        for version in (written, f"{CLUSTER_GROUP}/v1", f"{CLUSTER_GROUP}/v1alpha1"):
            if version and version in served:
                return version
        raise RefusedError(404, "NotFound", f"No version of {CLUSTER_GROUP} that the panel knows is served.")

    def may(self, verb: str, kind: Kind, namespace: str) -> bool:
        """Ask the API server whether this account may `verb` objects of `kind`."""
        review = self._request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {
                    "resourceAttributes": {
                        "namespace": namespace,
                        "verb": verb,
                        "group": kind.group,
                        "resource": kind.plural,
                    }
                },
            },
        )
        return mapping(review.get("status")).get("allowed") is True


def _watch_event(line: bytes) -> WatchEvent:
    try:
        event = mapping(json.loads(line))
    except ValueError:
        raise UnreachableError("The API server sent a watch event that is not JSON.") from None
    kind, item = text(event.get("type")), mapping(event.get("object"))
    if kind == "ERROR":
        message = text(item.get("message")) or "no message"
        if number(item.get("code")) == 410:
            raise WatchExpiredError(f"The watch is too old: {message}")
        raise RefusedError(number(item.get("code")), text(item.get("reason")), f"The watch failed: {message}")
    return WatchEvent(kind, item)


_lock = threading.Lock()
_connected: Kube | None = None


def connect() -> Kube:
    """Return this process's client, made on first use. Raises NotConfiguredError."""
    global _connected
    with _lock:
        if _connected is None:
            try:
                _connected = Kube(load_configuration())
            except AccessError as error:
                raise NotConfiguredError(str(error)) from None
        return _connected


def disconnect() -> None:
    """Forget the client, so that the next `connect` reads the kubeconfig anew (rotated token, moved server)."""
    global _connected
    with _lock:
        _connected = None
