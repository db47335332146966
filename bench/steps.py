"""What a bench does with the panel's own models: `python -m bench.steps NAME …`, in the environment of one panel.

The last line of the output is the finding, as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import django


def add(count: str, prefix: str) -> Any:
    """Register projects, `prefix`00001 and on: what is measured begins when they are provisioned."""
    from projects.models import Project

    names = [f"{prefix}{number:05}" for number in range(int(count))]
    Project.objects.bulk_create(
        [Project(name=name, kubernetes_name=name, namespace="default") for name in names], batch_size=500
    )
    return len(names)


def provision(prefix: str) -> Any:
    """Request the provisioning of all of them, one by one, as the admin's bulk action does; return the seconds."""
    from projects.models import Project
    from projects.services.provisioning import request_provision

    start = time.monotonic()
    for project in Project.objects.filter(kubernetes_name__startswith=prefix).order_by("pk"):
        request_provision(project, actor="bench")
    return {"began_at": start, "seconds": time.monotonic() - start}


def warm_up(tasks: str) -> Any:
    """Give the workers something short to do."""
    from django_q.tasks import async_task

    for _ in range(int(tasks)):
        async_task("bench.blocking.warm_up")
    return int(tasks)


def provision_blocking(count: str, prefix: str) -> Any:
    """Put one blocking task a project in the queue."""
    from django_q.tasks import async_task

    start = time.monotonic()
    for number in range(int(count)):
        async_task("bench.blocking.provision", f"{prefix}{number:05}")
    return {"began_at": start}


def settle(count: str, prefix: str, what: str, events: str = "0") -> Any:
    """Add projects that run, with database, sandbox and events, as passes leave them; return how many, or with `what`
    "names" each one's name, uid, Cluster and sandbox."""
    from bench.settled import add_settled

    rows = add_settled(int(count), prefix, int(events))
    return rows if what == "names" else len(rows)


def pages() -> Any:
    """Ask for each page; return its queries, milliseconds and size."""
    from bench.settled import measure_pages

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
