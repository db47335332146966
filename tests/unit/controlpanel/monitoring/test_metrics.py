"""/metrics: values and access."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from projects.domain.states import Phase
from projects.models import Project
from provisioning.watch.streams import WATCHED_KINDS, Stream, StreamStats
from provisioning.watch.watcher import read_stream_stats
from tests.factories import ProjectFactory
from tests.unit.controlpanel.monitoring.test_health import bring_up

pytestmark = pytest.mark.django_db
TOKEN = "t0ken"


def scrape(client, settings):
    settings.METRICS_TOKEN = TOKEN
    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_projects_by_phase_and_age_of_due_passes(client, settings):
    now = timezone.now()
    ProjectFactory.create(running=True)
    late = ProjectFactory.create(wanted=True)
    Project.objects.filter(pk=late.pk).update(next_pass_at=now - timedelta(seconds=40), queued_at=None, failures=3)
    found = scrape(client, settings)
    assert found["controlpanel_projects", Phase.RUNNING] == 1
    assert found["controlpanel_projects", Phase.FAILED] == 0
    assert found["controlpanel_projects_in_trouble",] == 1
    assert found["controlpanel_passes_due",] == 1
    assert 40 <= found["controlpanel_passes_due_oldest_seconds",] < 60


def test_watcher_reports_events_and_lag(client, settings):
    streams = [Stream(WATCHED_KINDS[0], namespace, threading.Event()) for namespace in ("a", "b")]
    now = timezone.now()
    streams[0].stats = StreamStats(3, now, now - timedelta(seconds=5), 0.2)
    streams[1].stats = StreamStats(1, now - timedelta(seconds=60), now - timedelta(seconds=90), 0.1)
    bring_up({"in_step": True, "streams": read_stream_stats(streams)})
    found = scrape(client, settings)
    assert found["controlpanel_watcher_in_step",] == found["controlpanel_queue_up",] == 1
    assert found["controlpanel_watch_events_total", "clusters"] == 4
    assert found["controlpanel_watch_lag_seconds", "clusters"] == 0.2
    assert 5 <= found["controlpanel_watch_last_event_age_seconds", "clusters"] < 30
    assert 60 <= found["controlpanel_watch_silence_seconds", "clusters"] < 90
    assert read_stream_stats(streams)["clusters"]["lag_s"] == 0


def test_missing_watcher_has_no_age(client, settings):
    found = scrape(client, settings)
    assert found["controlpanel_watcher_up",] == 0
    assert ("controlpanel_watcher_lease_age_seconds",) not in found


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_metrics_need_the_token(client, settings, header, token):
    settings.METRICS_TOKEN = token
    assert client.get("/metrics", headers={"authorization": header}).status_code == 403
