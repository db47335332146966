"""(a) Time until N projects that are provisioned at once all run, compared with a task that waits inside a worker."""

import time

from bench.figures import Result
from bench.processes import Backend, Cluster, Panel

_FEW = 6


def measure_panel(cluster: Cluster, backend: Backend, projects: int, prefix: str, timeout_s: float) -> dict[str, float]:
    """Provision `projects` at once; return the seconds and the CPU seconds of each process."""
    with Panel(cluster, backend) as panel:
        panel.step("add", projects, prefix)
        panel.start_all()
        before = {**panel.processes.usage(), "cluster": cluster.usage()}
        requested = panel.step("provision", prefix)
        # All processes of the machine share CLOCK_MONOTONIC.
        panel.wait_until(lambda: panel.count("Running") == projects, "all projects run", timeout_s)
        makespan_s = time.monotonic() - requested["began_at"]
        after = {**panel.processes.usage(), "cluster": cluster.usage()}
        late = panel.number("SELECT count(*) FROM projects_event WHERE reason = 'DeadlineExceeded'")
    cpu = {f"{name}_cpu_s": after[name].cpu_s - before[name].cpu_s for name in before}
    return {"makespan_s": makespan_s, "requests_s": requested["seconds"], "late": late, **cpu}


def measure_blocking(cluster: Cluster, backend: Backend, projects: int, prefix: str, timeout_s: float) -> float:
    """Provision `projects` with blocking tasks; return the seconds until all sandboxes are applied."""
    with Panel(cluster, backend, settings_module="bench.blocking_settings") as panel:
        panel.start("qcluster")
        # The first task of each worker loads its imports, which isn't measured.
        panel.step("warm_up", 4)
        panel.wait_until(lambda: panel.number("SELECT count(*) FROM django_q_task") >= 4, "the workers are warm", 60)
        requested = panel.step("provision_blocking", projects, prefix)
        panel.wait_until(
            lambda: panel.number("SELECT count(*) FROM django_q_task WHERE success") >= 4 + projects,
            "the blocking tasks have ended",
            timeout_s,
        )
        return time.monotonic() - float(requested["began_at"])


def run(
    projects: int = 1000,
    ready_after_s: float = 20.0,
    backend: Backend | None = None,
    *,
    baseline_projects: int = _FEW,
    timeout_s: float = 900.0,
) -> Result:
    """Measure both designs on the same embedded cluster, one after the other."""
    backend = backend or Backend()
    with Cluster(running_after_s=ready_after_s) as cluster:
        few = min(baseline_projects, projects)
        blocking_few_s = measure_blocking(cluster, backend, few, "blocking", timeout_s) if few else 0.0
        ours = measure_panel(cluster, backend, projects, "panel", timeout_s)
    makespan_s = ours["makespan_s"]
    rows: list[tuple[object, ...]] = [
        ("this panel", projects, makespan_s, projects / makespan_s * 60, "1×"),
    ]
    values: dict[str, object] = {"projects": projects, "ready_after_s": ready_after_s, **ours}
    notes = [
        f"{backend.label}, 2 workers, databases Running {ready_after_s:g} s after their creation, simulated, "
        "VERIFY_CONNECTIONS=false; from the first request to the last project Running.",
        "CPU seconds: " + ", ".join(f"{key[:-6]} {ours[key]:.0f}" for key in ours if key.endswith("_cpu_s")),
    ]
    if few:
        blocking_s = blocking_few_s / few * projects
        ratio = blocking_s / makespan_s
        rows.append(("blocking poll", projects, blocking_s, projects / blocking_s * 60, f"{ratio:.0f}×"))
        notes.append(
            f"The blocking task (3 s poll) ran with {few} projects in {blocking_few_s:.1f} s; the rest is "
            "extrapolated. It ends when the sandbox is applied, and writes no rows, events or leases."
        )
        values |= {"blocking_s": blocking_s, "blocking_measured_projects": few, "ratio": ratio}
    return Result(
        f"makespan: {projects} projects at once",
        ("design", "projects", "makespan (s)", "projects/min", "factor"),
        rows,
        values,
        notes,
    )
