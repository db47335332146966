"""Measures the pages with Django's test client, in one process with Django set up."""

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bench.figures import percentile
from projects.models import Project

_REPEATS = 30


def measure_pages() -> list[dict[str, Any]]:
    """Request each page several times as an administrator; return its queries, milliseconds and size."""
    user = get_user_model().objects.create_superuser("bench", password=None)
    client = Client(SERVER_NAME="localhost", headers={"accept-encoding": "gzip"})
    client.force_login(user)
    middle = Project.objects.order_by("pk")[Project.objects.count() // 2]
    changelist = reverse("admin:projects_project_changelist")
    pages: dict[str, tuple[str, dict[str, str]]] = {
        "admin list": (changelist, {}),
        "admin list, last page": (f"{changelist}?p={Project.objects.count() // 25}", {}),
        "admin list, search": (f"{changelist}?q={middle.name}", {}),
        "admin events": (reverse("admin:projects_event_changelist"), {}),
        "list": (reverse("projects:list"), {}),
        "list, search": (f"{reverse('projects:list')}?q={middle.name}", {}),
        "project": (reverse("projects:detail", args=[middle.pk]), {}),
        "status fragment": (reverse("projects:status", args=[middle.pk]), {"hx-request": "true"}),
    }
    return [_measure(client, name, url, headers) for name, (url, headers) in pages.items()]


def _measure(client: Client, name: str, url: str, headers: dict[str, str]) -> dict[str, Any]:
    # The first request compiles the templates and isn't measured.
    answer = client.get(url, headers=headers)
    if answer.status_code not in (200, 204):
        raise RuntimeError(f"{url} returned {answer.status_code}.")
    with CaptureQueriesContext(connection) as queries:
        client.get(url, headers=headers)
    # Count before the next request, which empties Django's query log.
    count = len(queries)
    times_ms = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        client.get(url, headers=headers)
        times_ms.append((time.perf_counter() - start) * 1000)
    return {
        "page": name,
        "queries": count,
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "kb": len(client.get(url, headers={**headers, "accept-encoding": "identity"}).content) / 1000,
    }
