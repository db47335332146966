"""`/metrics` for Prometheus: projects by phase, and the lag of queue, sweep and watcher.

All values are read from the panel's database at scrape time, so that every web process returns the same.
"""

import secrets
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from projects.access.sidebar import may_view_every_project
from projects.domain.states import DesiredState, Phase
from projects.models import Project
from projects.services.broker import count_tasks
from provisioning import heartbeats
from provisioning.models import ProcessLease


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics to staff who can view all projects, and to requests with METRICS_TOKEN as bearer token. Raises
    PermissionDenied."""
    if not (_has_token(request) or may_view_every_project(request)):
        raise PermissionDenied(
            "You don't have permission to read metrics. Send METRICS_TOKEN (Authorization: Bearer …), or log in as "
            "staff (needs: view_project)."
        )
    registry = CollectorRegistry()
    registry.register(_Collector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _has_token(request: HttpRequest) -> bool:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted: str = settings.METRICS_TOKEN
    return bool(wanted) and kind.lower() == "bearer" and secrets.compare_digest(token.encode(), wanted.encode())


class _Collector:
    """Reads the database once per scrape."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from _projects(now)
        yield _gauge("queue_tasks", "Tasks queued or running.", count_tasks(now))
        leases = {lease.name: lease for lease in ProcessLease.objects.all()}
        alive = heartbeats.read(now)
        yield _gauge("queue_up", "Whether a queue worker is alive (1) or not (0).", alive.queue.alive)
        yield _age("queue_worker", "since the last heartbeat of a queue worker", leases.get(heartbeats.QUEUE), now)
        yield _gauge("watcher_up", "Whether a watcher is running (1) or not (0).", alive.watcher.alive)
        yield _age("watcher_lease", "since the watcher last renewed its lease", leases.get("watcher"), now)
        yield from _streams(leases.get(heartbeats.WATCHER), now)


def _projects(now: datetime) -> Iterator[Metric]:
    by_phase = dict(Project.objects.order_by().values_list("phase").annotate(Count("pk")))
    family = GaugeMetricFamily("controlpanel_projects", "Projects by phase.", labels=["phase"])
    for phase in Phase:
        family.add_metric([str(phase)], by_phase.get(phase, 0))
    yield family
    ended = Q(desired_state=DesiredState.REGISTERED, phase=Phase.NEW)
    failing = Project.objects.present().exclude(ended).filter(failures__gt=0).count()
    yield _gauge("projects_in_trouble", "Projects whose last pass failed.", failing)
    overdue = Project.objects.filter(next_pass_at__lte=now, queued_at=None)
    due = overdue.aggregate(n=Count("pk"), first=Min("next_pass_at"))
    yield _gauge("passes_due", "Projects with a pass due that is not queued yet.", due["n"])
    yield _gauge("passes_due_oldest_seconds", "Age of the oldest due pass.", _seconds(due["first"], now))
    queued = Project.objects.filter(queued_at__isnull=False).aggregate(first=Min("queued_at"))
    yield _gauge("passes_queued_oldest_seconds", "Age of the oldest queued pass.", _seconds(queued["first"], now))


def _streams(lease: ProcessLease | None, now: datetime) -> Iterator[Metric]:
    details = lease.details if lease else {}
    yield _gauge(
        "watcher_in_step",
        "Whether the watcher is in sync with the cluster (1) or not (0).",
        details.get("in_step") is True,
    )
    events = CounterMetricFamily("controlpanel_watch_events", "Events since the watcher started.", labels=["kind"])
    event_age, silence, lag = (
        GaugeMetricFamily(f"controlpanel_watch_{name}", text, labels=["kind"])
        for name, text in (
            ("last_event_age_seconds", "Seconds since the last watch event."),
            ("silence_seconds", "Seconds since the quietest watch last received anything, including bookmarks."),
            ("lag_seconds", "Longest recent time from a watch event to its task in the queue, in seconds."),
        )
    )
    for kind, pulse in (details.get("streams") or {}).items():
        events.add_metric([kind], float(pulse["events"]))
        lag.add_metric([kind], float(pulse["lag_s"]))
        for family, name in ((event_age, "event_at"), (silence, "heard_at")):
            if pulse[name]:
                family.add_metric([kind], _seconds(parse_datetime(pulse[name]), now))
    yield from (events, event_age, silence, lag)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"controlpanel_{name}", text, value=float(value))


def _age(name: str, since: str, lease: ProcessLease | None, now: datetime) -> GaugeMetricFamily:
    """Return the age of a lease's last renewal; without a sample if it was never renewed."""
    family = GaugeMetricFamily(f"controlpanel_{name}_age_seconds", f"Seconds {since}.", labels=[])
    if lease is not None and lease.renewed_at is not None:
        family.add_metric([], _seconds(lease.renewed_at, now))
    return family


def _seconds(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0
