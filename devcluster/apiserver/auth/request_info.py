"""Parse the method and path of a request into a verb and a resource, as RequestInfo does in Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_METHOD_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """`is_resource` is False for /version, discovery and unknown paths. Then only `verb` and `path` are set."""

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()
    """The path after the subresource, for `proxy`."""


def parse_request(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Return what the request asks for. `path` is the percent-encoded path of the URL."""
    verb = _METHOD_VERBS.get(method, method.lower())
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    plain = RequestInfo(verb, path)
    if parts[:1] == ["api"]:
        group, parts = "", parts[1:]
    elif parts[:1] == ["apis"]:
        if len(parts) < 2:
            return plain
        group, parts = parts[1], parts[2:]
    else:
        return plain
    if len(parts) < 2:
        return plain
    version, parts = parts[0], parts[1:]
    if parts[0] == "watch" and len(parts) > 1:  # the deprecated form of watches, still served
        verb, parts = "watch", parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in {"status", "finalize"}:
            parts = parts[2:]
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if resource == "namespaces":
        namespace = name
    if not name:
        if verb == "get":
            verb = "watch" if is_true(query, "watch") else "list"
        elif verb == "delete":
            verb = "deletecollection"
    return RequestInfo(verb, path, True, group, version, resource, subresource, namespace, name, tuple(parts[3:]))


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Return a boolean query parameter. As on the real server, every value but `false` and `0` is true, "" too."""
    return name in query and query[name].lower() not in {"false", "0"}
