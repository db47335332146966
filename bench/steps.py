"""Steps of the benchmarks that use the panel's models: `python -m bench.steps NAME …`, with the settings of one panel.

The last line of the output is the result as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import django


def add(count: str, prefix: str) -> Any:
    """Add projects called `prefix`00000 and following, without provisioning them. Return their number."""
    from projects.models import Project

    names = [f"{prefix}{number:05}" for number in range(int(count))]
    Project.objects.bulk_create(
        [Project(name=name, kubernetes_name=name, namespace="default") for name in names], batch_size=500
    )
    return len(names)


def provision(prefix: str) -> Any:
    """Provision these projects one by one, as the bulk action does. Return the start (monotonic) and the seconds."""
    from projects.models import Project
    from projects.services.provisioning import request_provision

    start = time.monotonic()
    for project in Project.objects.filter(kubernetes_name__startswith=prefix).order_by("pk"):
        request_provision(project, actor="bench")
    return {"began_at": start, "seconds": time.monotonic() - start}


def warm_up(tasks: str) -> Any:
    """Enqueue short tasks, so that the workers have loaded their imports. Return their number."""
    from django_q.tasks import async_task

    for _ in range(int(tasks)):
        async_task("bench.blocking.warm_up")
    return int(tasks)


def provision_blocking(count: str, prefix: str) -> Any:
    """Enqueue one blocking task per project. Return the start (monotonic)."""
    from django_q.tasks import async_task

    start = time.monotonic()
    for number in range(int(count)):
        async_task("bench.blocking.provision", f"{prefix}{number:05}")
    return {"began_at": start}


def settle(count: str, prefix: str, what: str, events: str = "0") -> Any:
    """Add settled projects with database, sandbox and events.

    Return their number, or with `what` "names" each project's name, uid, Cluster and sandbox.
    """
    from bench.seed_rows import add_settled

    rows = add_settled(int(count), prefix, int(events))
    return rows if what == "names" else len(rows)


def pages() -> Any:
    """Request each page; return its queries, milliseconds and size."""
    from bench.page_timings import measure_pages

    return measure_pages()


STEPS: dict[str, Callable[..., Any]] = {
    "settle": settle,
    "pages": pages,
    "add": add,
    "provision": provision,
    "warm_up": warm_up,
    "provision_blocking": provision_blocking,
}


def main() -> None:
    django.setup()
    name, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(STEPS[name](*arguments)) + "\n")


if __name__ == "__main__":
    main()
