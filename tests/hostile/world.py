"""An API server with the valid objects of one project. A test may spoil any of its answers."""

import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.hostile import answers
from tests.hostile.server import http_json

Spoil = Callable[[Any], Any]
_KINDS = {"clusters": "Cluster", "secrets": "Secret", "services": "Service", "pods": "Pod"}


class World:
    """Answers requests from `objects`, by plural name. `spoil` may change each answer before it is sent."""

    def __init__(self, uid: str, database: str, sandbox: str, *, phase: str = "Running") -> None:
        self.objects = {
            "clusters": answers.cluster(database, uid, phase),
            "secrets": answers.secret(database),
            "services": answers.service(f"{database}-postgresql-postgresql"),
            "statefulsets": answers.statefulset(sandbox, uid),
            "pods": answers.pod(),
        }
        self.spoil: Spoil = lambda answer: answer

    def respond(self, method: str, path: str, body: bytes) -> bytes:
        answer = self.spoil(copy.deepcopy(self._answer(method, path, body)))
        status = 404 if isinstance(answer, dict) and answer.get("code") == 404 else 200
        return http_json(answer, status)

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        address = urlsplit(path)
        parts = address.path.strip("/").split("/")
        if parts == ["apis", "apps.kubeblocks.io"]:
            return {"versions": [{"groupVersion": "apps.kubeblocks.io/v1"}]}
        if parts[:-1] == ["api", "v1", "namespaces"]:
            return {"metadata": {"name": parts[-1], "uid": answers.NAMESPACE_UID}}
        named = len(parts) > 2 and parts[-2] in ("clusters", "secrets", "services", "statefulsets", "ingresses")
        plural = parts[-2] if named else parts[-1]
        if method == "PATCH":
            sent = json.loads(body)
            held = self.objects.get(plural, {})
            return {**held, **sent, "metadata": {**held.get("metadata", {}), **sent["metadata"], "name": parts[-1]}}
        item = self.objects.get(plural)
        if method == "DELETE" and item is not None:
            item["metadata"]["deletionTimestamp"] = "2026-11-22T15:42:25Z"
        if named:
            is_there = item is not None and item["metadata"]["name"] == parts[-1]
            return item if is_there else answers.not_found(plural, parts[-1])
        selector = parse_qs(address.query).get("labelSelector", [""])[0]
        is_ours = "project-id" in selector and not selector.startswith("!")
        is_labeled = plural in ("clusters", "statefulsets")
        matches = item is not None and (not selector.startswith("!") if is_labeled else not is_ours)
        return answers.listing(_KINDS.get(plural, "Thing"), *([item] if matches else []))
