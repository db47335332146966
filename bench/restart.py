"""(d) How soon a watcher that starts is in step with the cluster, and what the panel's processes hold in memory."""

import time

from bench.api import CLUSTERS, SECRETS, STATEFULSETS, Api
from bench.figures import Result
from bench.stage import Backend, Cluster, Panel
from bench.worlds import fill_cluster


def run(projects: int = 5000, backend: Backend | None = None, *, starts: int = 3) -> Result:
    """Fill the panel and the cluster with `projects` settled projects, then start the watcher some times."""
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
            panel.wait_until(panel.is_in_step, "the watcher is in step", 120)
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
        ("process", "in step after (s)", "resident (MB)"),
        [("watch", in_step_s, max(resident)), ("qcluster, 2 workers, 6 processes", "", queue_mb)],
        {
            "projects": projects,
            "in_step_s": in_step_s,
            "watch_mb": max(resident),
            "qcluster_mb": queue_mb,
            "tasks_woken": woken,
        },
        [
            f"{backend.label}; median of {starts} starts of `manage.py watch`, Python's own start included.",
            f"The cluster holds {listed}.",
            "Memory is the sum of the resident sets: pages that processes share count for each.",
        ],
    )


_FORGET_WATCHER = "from provisioning.models import ProcessLease; ProcessLease.objects.filter(name='watcher').delete()"
