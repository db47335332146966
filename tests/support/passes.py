"""Run passes of a project until a test's condition holds."""

import time
from collections.abc import Callable

import pytest

from projects.domain.states import Phase
from projects.models import Project
from provisioning.inventory.adoption import list_clusters
from provisioning.reconcile.loop import run_pass


def follow(project: Project, until: Callable[[Project], object], timeout_s: float = 30.0) -> Project:
    """Run passes of the project, as the queue does, until `until` holds; fail with its last message after
    `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    while True:
        run_pass(project.pk)
        project = Project.objects.with_resources().get(pk=project.pk)
        if until(project):
            return project
        if time.monotonic() > end:
            pytest.fail(f"{project.name} is {project.phase} after {timeout_s} s: {project.message}")
        time.sleep(0.05)


def is_running(project: Project) -> bool:
    return project.phase == Phase.RUNNING


def available_clusters() -> str:
    """Return the sentence of messages about the existing clusters: the first six names and the number of others."""
    names = sorted(cluster.name for cluster in list_clusters("default"))
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"Available clusters: {', '.join(names[:6])}{more}"
