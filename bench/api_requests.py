"""(c) Requests to the API server: per provisioned project, and while idle."""

import time

from bench.api import Api, Counts
from bench.figures import Result
from bench.processes import Backend, Cluster, Panel

_WATCHED_KINDS = 3
# Short, so that the checks after a start of the watcher end before the idle minute.
_SETTLED_POLL_S = 20


def _describe(counts: Counts, projects: int) -> str:
    parts = sorted(counts.by_kind.items(), key=lambda item: -item[1])
    return ", ".join(f"{verb} {resource} {count / projects:.2f}" for (verb, resource), count in parts)


def run(
    projects: int = 50,
    backend: Backend | None = None,
    *,
    ready_after_s: float = 10.0,
    settled: int = 5000,
    idle_s: float = 60.0,
) -> Result:
    """Count the requests of `projects` provisionings, then of `idle_s` idle seconds with `settled` more projects."""
    backend = backend or Backend()
    with (
        Cluster(running_after_s=ready_after_s) as cluster,
        Panel(cluster, backend, SETTLED_POLL_S=str(_SETTLED_POLL_S)) as panel,
    ):
        api = Api(cluster.kubeconfig)
        panel.step("add", projects, "counted")
        panel.start_all()
        started = time.monotonic()
        api.forget_counts()
        panel.step("provision", "counted")
        panel.wait_until(lambda: panel.count("Running") == projects, "all projects run", 600)
        # Late passes belong to the provisioning too.
        time.sleep(3)
        found = api.counts()
        time.sleep(max(0.0, started + 2 * _SETTLED_POLL_S - time.monotonic()))
        panel.step("settle", settled, "settled", "rows")
        api.forget_counts()
        start = time.monotonic()
        time.sleep(idle_s)
        idle, minutes = api.counts(), (time.monotonic() - start) / 60
    each = (found.reads + found.writes) / projects
    idle_each_kind = (idle.reads + idle.writes + idle.watches) / minutes / _WATCHED_KINDS
    return Result(
        f"api-requests: {projects} projects, then {settled} settled ones",
        ("what", "reads", "writes", "watches", "total"),
        [
            ("provisioned project", found.reads / projects, found.writes / projects, "", each),
            (
                f"idle minute, {settled + projects} projects",
                idle.reads / minutes,
                idle.writes / minutes,
                idle.watches / minutes,
                (idle.reads + idle.writes + idle.watches) / minutes,
            ),
        ],
        {
            "requests_per_project": each,
            "reads_per_project": found.reads / projects,
            "writes_per_project": found.writes / projects,
            "idle_requests_per_minute": (idle.reads + idle.writes + idle.watches) / minutes,
            "idle_requests_per_minute_and_kind": idle_each_kind,
            "settled": settled,
        },
        [
            f"{backend.label}, databases Running {ready_after_s:g} s after their creation.",
            "Per project: " + _describe(found, projects),
            f"Idle for {idle_s:g} s: {_describe(idle, 1) or 'nothing'}; the settled rows are due evenly over "
            "SETTLED_POLL_S, as passes leave them.",
        ],
    )
