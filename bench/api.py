"""The embedded cluster's API server as the benchmarks use it: statuses, watches, counts of requests."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import urllib3

from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import MERGE_PATCH, RefusedError, Rest

CLUSTERS = "/apis/apps.kubeblocks.io/v1/namespaces/default/clusters"
STATEFULSETS = "/apis/apps/v1/namespaces/default/statefulsets"
SECRETS = "/api/v1/namespaces/default/secrets"
_PANEL = "admin"
_LONGEST_RUN_S = 3600
_READS = frozenset({"get", "list"})


class Api(Rest):
    """Requests of the kubeconfig's administrator. Thread-safe."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(load_kubeconfig(kubeconfig, kubeconfig.parent))

    def create_if_absent(self, path: str, body: object) -> None:
        """Create an object, or leave the one of that name as it is. Raises RefusedError."""
        try:
            self.create(path, body)
        except RefusedError as error:
            if error.answer.reason != "AlreadyExists":
                raise

    def list_all(self, path: str) -> tuple[list[dict[str, Any]], str]:
        answer = self.read(path)
        return list(answer["items"]), str(answer["metadata"]["resourceVersion"])

    def patch_status(self, path: str, name: str, status: Mapping[str, Any]) -> None:
        self.send("PATCH", f"{path}/{name}/status", {"status": status}, content_type=MERGE_PATCH)

    def forget_counts(self) -> None:
        self.send("DELETE", "/devcluster/requests")

    def counts(self) -> "Counts":
        """Return the panel's requests to the API server since `forget_counts`."""
        rows = self.read("/devcluster/requests")["requests"]
        found: Counter[tuple[str, str]] = Counter()
        for row in rows:
            if row["user"] == _PANEL and not str(row["resource"]).startswith("/devcluster"):
                found[row["verb"], row["resource"]] += row["count"]
        return Counts(found)


class Counts:
    """Requests by verb and resource. A watch is counted when it starts."""

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
    """Records when a watch first saw each object of a kind, by project (monotonic seconds).

    The thread ends with its process, or when the API server stops.
    """

    def __init__(self, api: Api, path: str) -> None:
        _, version = api.list_all(path)
        self.moments: dict[str, float] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._follow, args=(api, path, version), daemon=True).start()

    def _follow(self, api: Api, path: str, version: str) -> None:
        with (
            # Raised when the benchmark stops the API server.
            contextlib.suppress(urllib3.exceptions.HTTPError, OSError),
            api.watch_lines(path, timeout_s=_LONGEST_RUN_S, resourceVersion=version) as lines,
        ):
            for line in lines:
                # Skip parsing other events: only additions count.
                if line.startswith(b'{"type":"ADDED"'):
                    self._note(json.loads(line)["object"], time.monotonic())

    def _note(self, item: Mapping[str, Any], now: float) -> None:
        with self._lock:
            labels = item["metadata"].get("labels") or {}
            self.moments.setdefault(labels.get("controlpanel.fullstackagent.io/project", ""), now)

    def snapshot(self) -> dict[str, float]:
        """Return {project name: seconds} so far."""
        with self._lock:
            return dict(self.moments)
