"""The embedded cluster's API server as the benches use it: statuses, watches, counts of requests."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

CLUSTERS = "/apis/apps.kubeblocks.io/v1/namespaces/default/clusters"
STATEFULSETS = "/apis/apps/v1/namespaces/default/statefulsets"
SECRETS = "/api/v1/namespaces/default/secrets"
_PANEL = "admin"
_READS = frozenset({"get", "list"})


class Api:
    """Requests with the kubeconfig's token. Thread-safe."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self.url = str(config["clusters"][0]["cluster"]["server"])
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        self._pool = urllib3.PoolManager(maxsize=16, retries=False)

    def request(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Mapping[str, Any]:
        """Return the answer. Raises RuntimeError for an error status."""
        response = self._pool.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, "Content-Type": content_type},
            timeout=30,
        )
        if response.status >= 400:
            raise RuntimeError(f"{method} {path} was answered {response.status}: {response.data[:300]!r}")
        answer: Mapping[str, Any] = json.loads(response.data)
        return answer

    def create(self, path: str, body: object) -> None:
        """Make an object, or leave it as it is. Raises RuntimeError."""
        try:
            self.request("POST", path, body)
        except RuntimeError as error:
            if "AlreadyExists" not in str(error):
                raise

    def list_all(self, path: str) -> tuple[list[dict[str, Any]], str]:
        answer = self.request("GET", path)
        return list(answer["items"]), str(answer["metadata"]["resourceVersion"])

    def patch_status(self, path: str, name: str, status: Mapping[str, Any]) -> None:
        self.request("PATCH", f"{path}/{name}/status", {"status": status}, "application/merge-patch+json")

    def forget_counts(self) -> None:
        self.request("DELETE", "/devcluster/requests")

    def counts(self) -> "Counts":
        """Return what the panel has asked of the API server since `forget_counts`."""
        rows = self.request("GET", "/devcluster/requests")["requests"]
        found: Counter[tuple[str, str]] = Counter()
        for row in rows:
            if row["user"] == _PANEL and not str(row["resource"]).startswith("/devcluster"):
                found[row["verb"], row["resource"]] += row["count"]
        return Counts(found)

    def watch(self, path: str, version: str) -> urllib3.BaseHTTPResponse:
        query = urlencode({"watch": "true", "resourceVersion": version, "timeoutSeconds": 3600})
        return self._pool.request(
            "GET",
            f"{self.url}{path}?{query}",
            headers=self._headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=5, read=3600),
        )


class Counts:
    """Requests by verb and resource. `watches` are long ones, counted when they begin."""

    def __init__(self, by_kind: Counter[tuple[str, str]]) -> None:
        self.by_kind = by_kind

    def _sum(self, fits: Callable[[str], bool]) -> int:
        return sum(count for (verb, _), count in self.by_kind.items() if fits(verb))

    @property
    def reads(self) -> int:
        return self._sum(lambda verb: verb in _READS)

    @property
    def watches(self) -> int:
        return self._sum(lambda verb: verb == "watch")

    @property
    def writes(self) -> int:
        return self._sum(lambda verb: verb not in _READS and verb != "watch")


class FirstSeen:
    """When each object of a kind was first seen, by a watch of its own: {name: (time.monotonic(), object)}.

    The thread ends with its process, or when the API server goes.
    """

    def __init__(self, api: Api, path: str) -> None:
        _, version = api.list_all(path)
        self.moments: dict[str, float] = {}
        self.owners: dict[str, str] = {}
        self._lock = threading.Lock()
        response = api.watch(path, version)
        threading.Thread(target=self._follow, args=(response,), daemon=True).start()

    def _follow(self, response: urllib3.BaseHTTPResponse) -> None:
        buffer = b""
        try:
            for chunk in response.stream(65_536):
                now = time.monotonic()
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    # Only additions count: the others are not worth their parsing.
                    if line.startswith(b'{"type":"ADDED"'):
                        self._note(json.loads(line)["object"], now)
        except (urllib3.exceptions.HTTPError, OSError):
            return  # the stage is being taken down

    def _note(self, item: Mapping[str, Any], now: float) -> None:
        with self._lock:
            labels = item["metadata"].get("labels") or {}
            self.moments.setdefault(labels.get("controlpanel.fullstackagent.io/project", ""), now)

    def snapshot(self) -> dict[str, float]:
        """Return the moments by the project's name."""
        with self._lock:
            return dict(self.moments)
