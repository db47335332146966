"""Comparison of two answers: status code, reason, causes and objects, without what each server makes up by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.rest import Answer

_TIMES = {"creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime", "lastPhaseTransitionTime"}
_ADDRESS = re.compile(r"^10\.96\.\d+\.\d+$")
_TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")
_NODE_PORTS = range(30_000, 32_768)


class Normalizer:
    """Replaces what one server makes up by numbers in the order of appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def _number(self, what: str, text: str) -> str:
        known = self._numbers.setdefault(what, {})
        return f"{what} {known.setdefault(text, len(known) + 1)}"

    def object(self, value: Any) -> Any:
        """Return an object, list or event in comparable form."""
        if isinstance(value, dict):
            if "metadata" in value and _is_claim(value):
                value = {**value, "metadata": {**value["metadata"], "resourceVersion": ""}}
            found = {name: self._field(name, one) for name, one in value.items()}
            if "generateName" in value and str(value.get("name", "")).startswith(str(value["generateName"])):
                found["name"] = self._number("name", value["name"])
            return found
        if isinstance(value, list):
            return [self.object(one) for one in value]
        return _TOKEN_VOLUME.sub("kube-api-access", value) if isinstance(value, str) else value

    def _field(self, name: str, value: Any) -> Any:
        if name == "uid" and isinstance(value, str):
            return self._number("uid", value)
        if name == "resourceVersion" and isinstance(value, str) and value.isdigit():
            return self._number("version", value)
        if name in _TIMES and isinstance(value, str):
            return "time"
        if name == "rules":
            return self.object(value or None)
        if name == "managedFields" and isinstance(value, list):
            return sorted((self.object(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
        if name == "clusterIP" and isinstance(value, str) and _ADDRESS.match(value):
            return "address"
        if name == "clusterIPs" and isinstance(value, list):
            return [self._field("clusterIP", one) for one in value]
        if name in {"nodePort", "healthCheckNodePort"} and value in _NODE_PORTS:
            return self._number("port", str(value))
        return self.object(value)

    def answer(self, answer: Answer) -> dict[str, Any]:
        """Return status, and for an error reason and causes, else the body."""
        try:
            body = answer.body
        except (ValueError, AssertionError):
            return {"status": answer.status, "text": answer.text[:200] if answer.status >= 400 else ""}
        if answer.status < 400:
            if body.get("kind", "").endswith("List") and "items" in body:
                body["metadata"] = {}
                body["items"] = [one for one in body["items"] if not _is_of_controllers(one)]
            return {"status": answer.status, "body": self.object(body)}
        details = answer.details
        return {
            "status": answer.status,
            "reason": answer.reason,
            "about": [details.get("group"), details.get("kind"), details.get("name")],
            "causes": sorted([cause.reason, cause.field] for cause in answer.causes),
        }


def _is_claim(value: Any) -> bool:
    spec = value.get("spec")
    return value.get("kind") == "PersistentVolumeClaim" or (isinstance(spec, dict) and "accessModes" in spec)


def _is_of_controllers(item: Any) -> bool:
    """Return whether every namespace has the object."""
    return item.get("metadata", {}).get("name") in {"kube-root-ca.crt", "default"}


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield `PATH: EMBEDDED != REAL` for each difference of two comparable values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            inner = f"{path}/{name}"
            if name not in ours:
                yield f"{inner}: nothing != {_shown(theirs[name])}"
            elif name not in theirs:
                yield f"{inner}: {_shown(ours[name])} != nothing"
            else:
                yield from differences(ours[name], theirs[name], inner)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}/{index}")
    elif type(ours) is not type(theirs) or ours != theirs:
        yield f"{path}: {_shown(ours)} != {_shown(theirs)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) < 400 else text[:400] + " …"
