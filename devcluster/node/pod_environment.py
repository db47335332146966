"""The environment of a container as the kubelet builds it: envFrom, then env, with `$(NAME)` expanded.

Messages about missing sources are those of the kubelet, because the panel shows them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping

from devcluster.client.client import Object

Fetch = Callable[[str, str, str], Awaitable[Object | None]]
_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")


class MissingSourceError(Exception):
    """A source is missing: the container waits with CreateContainerConfigError and this message."""


def expand(value: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` with the value of an earlier variable, if there is one, and `$$` by `$`."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return known.get(name, match.group(0))

    return _REFERENCE.sub(replace, value)


def decoded(item: Object, kind: str) -> dict[str, str]:
    """Return the data of a Secret or ConfigMap as text. Bytes that are not UTF-8 are replaced."""
    data = item.get("data") or {}
    if kind == "ConfigMap":
        return {key: str(value) for key, value in data.items()}
    return {key: base64.b64decode(value or "").decode(errors="replace") for key, value in data.items()}


def field_of(pod: Object, path: str) -> str:
    """Return the value of a fieldRef. MissingSourceError for an unsupported path."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str((metadata.get(match.group(1)) or {}).get(match.group(2), ""))
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": status.get("podIP", "127.0.0.1"),
        "status.hostIP": "127.0.0.1",
    }
    if path not in simple:
        raise MissingSourceError(f"unsupported fieldPath: {path}")
    return str(simple[path])


async def resolve_environment(pod: Object, container: Object, fetch: Fetch) -> dict[str, str]:
    """Return all variables of the container. `fetch(kind, namespace, name)` returns a Secret or ConfigMap, or None.

    Raises MissingSourceError if a required source is missing.
    """
    namespace = pod["metadata"]["namespace"]
    result: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        kind, reference = (
            ("Secret", source["secretRef"]) if "secretRef" in source else ("ConfigMap", source["configMapRef"])
        )
        item = await fetch(kind, namespace, reference["name"])
        if item is None:
            if not reference.get("optional"):
                raise MissingSourceError(f'{kind.lower()} "{reference["name"]}" not found')
            continue
        prefix = source.get("prefix") or ""
        result |= {prefix + key: value for key, value in decoded(item, kind).items() if _NAME.match(prefix + key)}
    for variable in container.get("env") or []:
        value = await _value(pod, variable, result, fetch)
        if value is not None:
            result[variable["name"]] = value
    return result


async def _value(pod: Object, variable: Object, known: Mapping[str, str], fetch: Fetch) -> str | None:
    """Return the value of a variable; None if an optional source is missing."""
    source = variable.get("valueFrom")
    if not source:
        return expand(str(variable.get("value") or ""), known)
    if "fieldRef" in source:
        return field_of(pod, source["fieldRef"]["fieldPath"])
    if "secretKeyRef" in source or "configMapKeyRef" in source:
        kind = "Secret" if "secretKeyRef" in source else "ConfigMap"
        reference = source.get("secretKeyRef") or source.get("configMapKeyRef")
        namespace, name, key = pod["metadata"]["namespace"], reference["name"], reference["key"]
        item = await fetch(kind, namespace, name)
        values = None if item is None else decoded(item, kind)
        if values is not None and key in values:
            return values[key]
        if reference.get("optional"):
            return None
        if values is None:
            raise MissingSourceError(f'{kind.lower()} "{name}" not found')
        raise MissingSourceError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    raise MissingSourceError(f"unsupported source of variable {variable['name']}")
