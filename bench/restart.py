"""(d) How long a starting watcher needs until it follows the cluster, and the memory of the panel's processes."""

import time

from bench.api import CLUSTERS, SECRETS, STATEFULSETS, Api
from bench.figures import Result
from bench.processes import Backend, Cluster, Panel
from bench.seed_cluster import fill_cluster


def run(projects: int = 5000, backend: Backend | None = None, *, starts: int = 3) -> Result:
    """Create `projects` settled projects in the panel and the cluster, then start the watcher `starts` times."""
    backend = backend or Backend()
    with Cluster(running_after_s=0, sandboxes="none") as cluster, Panel(cluster, backend) as panel:
        api = Api(cluster.kubeconfig)
        rows = panel.step("settle", projects, "settled", "names")
        fill_cluster(api, rows)
        moments, resident = [], []
        for _ in range(starts):
            panel.manage("shell", "-c", _FORGET_WATCHER)
            before = time.monotonic()
            panel.start("watch")
            panel.wait_until(panel.is_watcher_in_step, "the watcher follows the cluster", 120)
            moments.append(time.monotonic() - before)
            time.sleep(2)
            resident.append(panel.processes.usage()["watch"].resident_mb)
            woken = panel.number("SELECT count(*) FROM django_q_ormq") if not backend.redis_url else 0
            panel.processes.stop("watch")
        panel.start("qcluster")
        time.sleep(5)
        queue_mb = panel.processes.usage()["qcluster"].resident_mb
        listed = {path.rpartition("/")[2]: len(api.list_all(path)[0]) for path in (CLUSTERS, SECRETS, STATEFULSETS)}
    in_step_s = sorted(moments)[len(moments) // 2]
    return Result(
        f"restart: {projects} settled projects",
        ("process", "follows after (s)", "resident (MB)"),
        [("watch", in_step_s, max(resident)), ("qcluster, 2 workers, 6 processes", "", queue_mb)],
        {
            "projects": projects,
            "in_step_s": in_step_s,
            "watch_mb": max(resident),
            "qcluster_mb": queue_mb,
            "tasks_woken": woken,
        },
        [
            f"{backend.label}; median of {starts} starts of `manage.py watch`, including Python's start.",
            f"The cluster holds {listed}.",
            "Memory is the sum of the resident sets, so shared pages count once per process.",
        ],
    )


_FORGET_WATCHER = "from provisioning.models import ProcessLease; ProcessLease.objects.filter(name='watcher').delete()"
