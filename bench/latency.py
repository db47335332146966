"""(b) Time from the status write "Running" of a database until its sandbox is applied, while many others wait."""

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from bench.api import CLUSTERS, STATEFULSETS, Api, FirstSeen
from bench.figures import Result, percentile
from bench.processes import Backend, BenchError, Cluster, Panel
from devcluster.controllers.kubeblocks.states import Observed, decide
from devcluster.controllers.kubeblocks.status import next_status
from devcluster.controllers.scenarios import DEFAULT, NEVER

_WRITERS = 4
_PROJECT_LABEL = "controlpanel.fullstackagent.io/project"
# Longer than any run: the benchmark itself sets databases to Running.
_NEVER_S = 900_000.0


@dataclass
class _Moments:
    """Maps a project's name to the time at which its database's status was written (monotonic)."""

    written: dict[str, float] = field(default_factory=dict)


def _running_status(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the status that the KubeBlocks stand-in writes when a database that is being created is running."""
    seen = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Cluster", **cluster}
    decision = decide(seen, Observed(1.0, "answering", 0.0, NEVER), DEFAULT)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = next_status(seen, decision, now, first_generation=1)
    if status is None or status["phase"] != "Running":
        raise BenchError(f"The Cluster {cluster['metadata']['name']} is not being created.")
    return status


def _write_all(api: Api, clusters: list[dict[str, Any]], spread_s: float) -> dict[str, float]:
    """Set each database to Running at a random moment within `spread_s`; return when each write was sent."""
    draw = random.Random(7)  # noqa: S311 - the same moments in every run
    start = time.monotonic() + 0.5
    due = sorted((start + draw.uniform(0, spread_s), number) for number in range(len(clusters)))
    statuses = {number: _running_status(cluster) for number, cluster in enumerate(clusters)}
    moments, lock = _Moments(), threading.Lock()
    ahead = iter(due)

    def write() -> None:
        while True:
            with lock:
                moment, number = next(ahead, (0.0, -1))
            if number < 0:
                return
            time.sleep(max(0.0, moment - time.monotonic()))
            metadata = clusters[number]["metadata"]
            sent = time.monotonic()
            api.patch_status(CLUSTERS, metadata["name"], statuses[number])
            moments.written[metadata["labels"][_PROJECT_LABEL]] = sent

    writers = [threading.Thread(target=write) for _ in range(_WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return moments.written


def run(
    waiting: int = 300,
    backend: Backend | None = None,
    *,
    spread_s: float = 60.0,
    never_ready: int = 2,
    timeout_s: float = 600.0,
) -> Result:
    """Let `waiting` databases become Running within `spread_s` (0: all at once) while `never_ready` others wait."""
    backend = backend or Backend()
    with (
        Cluster(running_after_s=_NEVER_S) as cluster,
        Panel(cluster, backend, READY_TIMEOUT_S="3600") as panel,
    ):
        api = Api(cluster.kubeconfig)
        panel.step("add", waiting, "waiting")
        panel.step("add", never_ready, "never")
        panel.start_all()
        panel.step("provision", "never")
        panel.step("provision", "waiting")
        everyone = waiting + never_ready
        creating = (
            "SELECT count(*) FROM projects_databasecluster d JOIN projects_project p ON p.id = d.project_id "
            "WHERE d.observed_phase = 'Creating' AND p.queued_at IS NULL AND p.lease_until IS NULL"
        )
        panel.wait_until(lambda: panel.number(creating) == everyone, "all databases are being created", timeout_s)
        clusters = [
            item
            for item in api.list_all(CLUSTERS)[0]
            if item["metadata"]["labels"][_PROJECT_LABEL].startswith("waiting")
        ]
        if len(clusters) != waiting:
            raise BenchError(f"There are {len(clusters)} Clusters for {waiting} projects.")
        applied = FirstSeen(api, STATEFULSETS)
        before = {**panel.processes.usage(), "cluster": cluster.usage()}
        written = _write_all(api, clusters, spread_s)
        panel.wait_until(lambda: len(applied.snapshot()) >= waiting, "all sandboxes are applied", timeout_s)
        after = {**panel.processes.usage(), "cluster": cluster.usage()}
        still_waiting = panel.number(
            "SELECT count(*) FROM projects_project WHERE kubernetes_name LIKE 'never%' AND phase = 'Waiting'"
        )
    moments = applied.snapshot()
    delays_ms = [(moments[name] - sent) * 1000 for name, sent in written.items()]
    p50_ms, p99_ms, worst_ms = percentile(delays_ms, 50), percentile(delays_ms, 99), max(delays_ms)
    took_s = max(moments.values()) - min(written.values())
    cpu = ", ".join(f"{name} {after[name].cpu_s - before[name].cpu_s:.0f}" for name in before)
    return Result(
        f"latency: {waiting} waiting, ready over {spread_s:g} s" if spread_s else f"latency: {waiting} ready at once",
        ("waiting", "p50 (ms)", "p99 (ms)", "worst (ms)", "sandboxes/s"),
        [(waiting, p50_ms, p99_ms, worst_ms, waiting / took_s)],
        {
            "waiting": waiting,
            "spread_s": spread_s,
            "p50_ms": p50_ms,
            "p99_ms": p99_ms,
            "worst_ms": worst_ms,
            "applied_per_s": waiting / took_s,
            "never_ready": never_ready,
        },
        [
            f"{backend.label}, 2 workers, VERIFY_CONNECTIONS=false; {still_waiting} of {never_ready} databases that "
            "never become ready keep waiting.",
            "From sending the status write to receiving the StatefulSet in a watch of the benchmark.",
            f"CPU seconds: {cpu}",
        ],
    )
