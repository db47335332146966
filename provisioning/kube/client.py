"""The only module that talks to Kubernetes: plain JSON over the official client's configuration and connection pool.

It doesn't use the client's typed models: they take 18 times as long as `json.loads`, and reject responses that lack a
field.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
from django.conf import settings

from projects.confidential.redaction import redact
from provisioning.kube.bodies import encode_body
from provisioning.kube.config import Access, AccessError, LoginError, explain_unreachable, load_access, open_pool
from provisioning.kube.errors import (
    LoginFailedError,
    NotConfiguredError,
    RefusedError,
    UnreachableError,
    WatchExpiredError,
    build_page_refusal,
    build_refusal,
)
from provisioning.kube.kinds import CLUSTER_GROUP, Kind
from provisioning.kube.responses import (
    LONGEST_REFUSAL,
    NonsenseError,
    check_named,
    items_of,
    parse,
    read_body,
    read_lines,
)
from provisioning.objects.readers import mapping, metadata_of, number, objects, text
from provisioning.objects.refusals import Cause, explain_cause, judge_status

FIELD_MANAGER = "controlpanel"
_PAGE_SIZE = 500
_MOST_PAGES = 400
# A request of a pass must end well within the pass's lease.
_CONNECT_TIMEOUT_S = 3.0
_DISCOVERY_VALID_S = 300.0
_VERSION_PATH = "/version"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch: its type (ADDED, MODIFIED, DELETED, BOOKMARK) and the object."""

    type: str
    object: Mapping[str, Any]


class Kube:
    """Requests to one API server. Thread-safe. Create it after a fork."""

    def __init__(self, access: Access) -> None:
        """Raises AccessError."""
        self._access, self._configuration = access, access.configuration
        self._pool = open_pool(self._configuration)
        self._certificate = self._configuration.cert_file
        self._served: tuple[float, tuple[str, ...]] = (0.0, ())
        self._watches: set[urllib3.BaseHTTPResponse] = set()

    @property
    def host(self) -> str:
        return str(self._configuration.host)

    @property
    def acts_as(self) -> str:
        """The impersonated user; "" without impersonation."""
        return self._access.impersonation.user

    def _headers(self, content_type: str | None) -> urllib3.HTTPHeaderDict:
        """Return the headers of a request. Raises NotConfiguredError."""
        headers = urllib3.HTTPHeaderDict({"Accept": "application/json", "User-Agent": "controlpanel"})
        try:
            for name, value in self._access.headers():
                headers.add(name, value)
            if self._configuration.cert_file != self._certificate:
                # The login plugin returned another client certificate; open connections still use the old one.
                self._pool, self._certificate = open_pool(self._configuration), self._configuration.cert_file
        except AccessError as error:
            raise _not_configured(error) from None
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the response with its body unread. Raises urllib3 errors, OSError and
        NotConfiguredError."""
        headers = self._headers(content_type if body is not None else None)
        return self._pool.request(
            method,
            self.host + path + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else encode_body(body),
            headers=headers,
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=settings.KUBE_REQUEST_TIMEOUT_S),
            preload_content=False,
            retries=False,
        )

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, NonsenseError):
            return UnreachableError(f"The API server {self.host} {error}. The panel retries automatically.")
        why = explain_unreachable(error, self._configuration.proxy)
        return UnreachableError(f"The API server {self.host} can't be reached: {why}. The panel retries automatically.")

    def _exchange(self, ask: Callable[[], _Answer]) -> _Answer:
        """Return the result of `ask`. Retries once if the server has closed the kept-alive connection: every request
        may be sent twice. Raises UnreachableError."""
        try:
            try:
                return ask()
            except urllib3.exceptions.ProtocolError:
                return ask()
        except (NonsenseError, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None

    def _request(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """Return the JSON object of the response. Raises KubeError."""

        def ask() -> Mapping[str, Any] | RefusedError:
            response = self._open(method, path, **options)
            body = read_body(response, within_s=settings.KUBE_REQUEST_TIMEOUT_S)
            if response.status >= 300:
                return build_refusal(response.status, body, response.headers, path)
            return parse(body)

        answer = self._exchange(ask)
        if not isinstance(answer, RefusedError):
            return answer
        if answer.code == 401:
            disconnect()  # the login may have been renewed: the next `connect` rereads it
        if answer.cause is Cause.UNSERVED and answer.reason != "NotFound" and not self._is_api_server(path):
            # Go's page for an unknown path, which proxies written in Go send as well.
            answer = build_page_refusal(answer.code, Cause.NOT_API_SERVER, f"no such path as {path}", path)
        raise answer

    def _is_api_server(self, path: str) -> bool:
        """Whether an API server sent the answer for `path`: it has a version as well. Raises UnreachableError."""
        if path == _VERSION_PATH:
            return False
        try:
            return bool(self.version())
        except RefusedError as error:
            return error.cause is not Cause.NOT_API_SERVER

    def _request_named(
        self, method: str, kind: Kind, namespace: str | None, name: str, **options: Any
    ) -> Mapping[str, Any]:
        """Return the object of that name from the response. Raises KubeError."""
        answer = self._request(method, kind.path(namespace, name), **options)
        try:
            return check_named(answer, name)
        except NonsenseError as error:
            raise self._unreachable(error) from None

    # --- reading -----------------------------------------------------------------------------------------------

    def get_or_none(self, kind: Kind, namespace: str | None, name: str) -> Mapping[str, Any] | None:
        """Return the object, or None if it doesn't exist. Raises KubeError."""
        try:
            return self._request_named("GET", kind, namespace, name)
        except RefusedError as error:
            if error.cause is Cause.NOT_FOUND:
                return None
            raise

    def list_page(self, kind: Kind, namespace: str | None, query: Mapping[str, str]) -> Mapping[str, Any]:
        return self._request("GET", kind.path(namespace), query=query)

    def list_objects(
        self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[Mapping[str, Any]]:
        """Return all objects of a kind that match the label selector and the field selector. Raises KubeError."""
        pages = self.list_pages(kind, namespace, labels=labels, fields=fields)
        return [item for items, _ in pages for item in items]

    def list_pages(
        self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> Iterator[tuple[list[Mapping[str, Any]], str]]:
        """Yield the objects page by page, each page with the resource version to watch from. Raises KubeError."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {"limit": str(_PAGE_SIZE), **{name: value for name, value in selectors.items() if value}}
        for _ in range(_MOST_PAGES):
            page = self.list_page(kind, namespace, query)
            try:
                items = items_of(page)
            except NonsenseError as error:
                raise self._unreachable(error) from None
            yield items, text(metadata_of(page).get("resourceVersion"))
            following = text(metadata_of(page).get("continue"), 10_000)
            if not following:
                return
            query["continue"] = following
        raise self._unreachable(NonsenseError(f"sent a list of {kind.plural} without an end"))

    def watch(
        self, kind: Kind, namespace: str | None, *, labels: str, resource_version: str, timeout_s: int
    ) -> Iterator[WatchEvent]:
        """Yield events until the server ends the watch after `timeout_s`. Raises WatchExpiredError on 410, and
        KubeError."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            **({"labelSelector": labels} if labels else {}),
        }
        # The server ends the watch. A connection that stays silent, or open, for longer isn't trusted.
        longest_s = timeout_s + 15
        response = self._exchange(lambda: self._open("GET", kind.path(namespace), query=query))
        # The headers come at once, the first event perhaps only after minutes.
        if response.connection is not None and (sock := getattr(response.connection, "sock", None)):
            sock.settimeout(longest_s)
        self._watches.add(response)
        try:
            if response.status >= 300:
                path = kind.path(namespace)
                refusal = build_refusal(response.status, response.read(LONGEST_REFUSAL), response.headers, path)
                raise WatchExpiredError(str(refusal)) if refusal.cause is Cause.EXPIRED else refusal
            for line in read_lines(response, within_s=longest_s):
                if line.strip():
                    yield _watch_event(parse(line, "a watch event"))
        except (NonsenseError, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            self._watches.discard(response)
            response.close()
            response.release_conn()

    def end_watches(self) -> None:
        """End all watches of this client, also those whose thread is waiting for an event."""
        for response in tuple(self._watches):
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended already
                response.shutdown()

    # --- writing -----------------------------------------------------------------------------------------------

    def apply(
        self, manifest: Mapping[str, Any], plural: str, *, force: bool = True, is_dry_run: bool = False
    ) -> Mapping[str, Any]:
        """Server-side apply: create the object, or set its fields. Idempotent. Raises KubeError.

        Unknown fields are refused (`fieldValidation=Strict`). A dry run changes nothing and returns the resulting
        object.
        """
        metadata = metadata_of(manifest)
        kind = Kind(str(manifest["apiVersion"]), plural, str(manifest["kind"]))
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        return self._request_named(
            "PATCH",
            kind,
            str(metadata["namespace"]),
            str(metadata["name"]),
            query=query | ({"dryRun": "All"} if is_dry_run else {}),
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    def merge(
        self, kind: Kind, namespace: str, name: str, changes: Mapping[str, Any], *, is_dry_run: bool = False
    ) -> Mapping[str, Any]:
        """Merge-patch an object; lists are replaced. Raises KubeError, with code 409 if `changes` names another uid or
        version than the object has."""
        content_type = "application/merge-patch+json"
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if is_dry_run else {})
        return self._request_named("PATCH", kind, namespace, name, query=query, body=changes, content_type=content_type)

    def merge_labels(
        self, kind: Kind, namespace: str, name: str, labels: Mapping[str, str | None], *, uid: str
    ) -> Mapping[str, Any]:
        """Set labels of the object with that uid; None removes a label. Raises RefusedError 409 for another object."""
        return self.merge(kind, namespace, name, {"metadata": {"uid": uid, "labels": dict(labels)}})

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> bool:
        """Request background deletion; return False if the object doesn't exist. Raises KubeError.

        With `uid`, only the object with that uid is deleted (409 otherwise).
        """
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._request("DELETE", kind.path(namespace, name), body=body)
        except RefusedError as error:
            if error.cause is Cause.NOT_FOUND:
                return False
            raise
        return True

    # --- discovery ---------------------------------------------------------------------------------------------

    def version(self) -> str:
        return text(self._request("GET", _VERSION_PATH).get("gitVersion"))

    def clock_skew_s(self) -> float | None:
        """Return by how many seconds the API server's clock is ahead of this one, to about a second; None if it sends
        no time. Raises UnreachableError."""

        def ask() -> tuple[str, float]:
            sent_at_s = time.time()
            response = self._open("GET", _VERSION_PATH)
            read_body(response, within_s=settings.KUBE_REQUEST_TIMEOUT_S)
            return response.headers.get("Date", ""), (sent_at_s + time.time()) / 2

        date, here_s = self._exchange(ask)
        try:
            # The header has no fractions of a second: on average, half of one is missing.
            return parsedate_to_datetime(date).timestamp() + 0.5 - here_s
        except ValueError:
            return None

    def cluster_api_version(self, written: str = "") -> str:
        """Return the Cluster API version to use: `written`, that of an existing object, if it is served; else v1, else
        v1alpha1.

        The result is cached for some minutes, because KubeBlocks may be upgraded. Raises RefusedError 404 if none is
        served.
        """
        path = f"/apis/{CLUSTER_GROUP}"
        asked_at, served = self._served
        if not served or time.monotonic() - asked_at > _DISCOVERY_VALID_S:
            group = self._request("GET", path)
            served = tuple(text(version.get("groupVersion")) for version in objects(group.get("versions")))
            self._served = (time.monotonic(), served)
        for version in (written, f"{CLUSTER_GROUP}/v1", f"{CLUSTER_GROUP}/v1alpha1"):
            if version and version in served:
                return version
        message = f"The API server serves no version of {CLUSTER_GROUP} that the panel supports."
        raise RefusedError(404, "NotFound", message, cause=Cause.UNSERVED, path=path)

    def may(self, verb: str, kind: Kind, namespace: str) -> bool:
        """Whether the API server allows this account to `verb` objects of `kind`. Raises KubeError."""
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


def _watch_event(event: Mapping[str, Any]) -> WatchEvent:
    kind, item = text(event.get("type")), mapping(event.get("object"))
    if kind == "ERROR":
        message = redact(text(item.get("message"))) or "no message"
        code = number(item.get("code"))
        cause = judge_status(code, item)
        if cause is Cause.EXPIRED:
            raise WatchExpiredError(f"The watch has expired: {message}")
        hint = explain_cause(cause, message)
        raise RefusedError(code, text(item.get("reason")), f"The watch failed: {message}.", cause=cause, hint=hint)
    return WatchEvent(kind, item)


_lock = threading.Lock()
_connected: Kube | None = None
_failure: tuple[float, AccessError] | None = None


def connect() -> Kube:
    """Return this process's client, created on first use. Raises NotConfiguredError."""
    global _connected, _failure
    asked_at_s = time.monotonic()
    with _lock:
        if _connected is None:
            # Threads that waited for a failed attempt share its error: a login plugin can take long to fail.
            if _failure is not None and _failure[0] >= asked_at_s:
                raise _not_configured(_failure[1])
            try:
                _connected = Kube(load_access())
            except AccessError as error:
                _failure = (time.monotonic(), error)
                raise _not_configured(error) from None
        return _connected


def _not_configured(error: AccessError) -> NotConfiguredError:
    return LoginFailedError(str(error)) if isinstance(error, LoginError) else NotConfiguredError(str(error))


def disconnect() -> None:
    """Drop the client, so that the next `connect` rereads the kubeconfig (rotated token, moved server)."""
    global _connected
    with _lock:
        _connected = None
