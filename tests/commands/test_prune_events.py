"""`manage.py prune_events` deletes old events of the panel, and keeps those of users."""

from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone

from projects.audit.log import record_action
from projects.models import Event
from provisioning import tasks
from tests.factories import EventFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_old_events_of_the_panel_are_deleted(capsys):
    now, project = timezone.now(), ProjectFactory.create()
    old, young = now - timedelta(days=31), now - timedelta(days=29)
    EventFactory.create(project=project, actor="panel", by_panel=True, at=old)
    kept = {
        EventFactory.create(project=project, actor="panel", by_panel=True, at=young).pk,
        # A user who is called so.
        EventFactory.create(project=project, actor="panel", at=old).pk,
        EventFactory.create(project=project, actor="ann", at=old, reason="CredentialsRevealed").pk,
    }
    call_command("prune_events", "--older-than-days", "30", "--dry-run")
    assert "Would delete 1 events" in capsys.readouterr().out
    assert Event.objects.count() == len(kept) + 1
    call_command("prune_events", "--older-than-days", "30")
    assert set(Event.objects.values_list("pk", flat=True)) == kept
    assert "Deleted 1 events" in capsys.readouterr().out


@pytest.mark.parametrize(("days", "left"), [(0, 2), (30, 1)])
def test_audit_log_is_pruned_only_if_configured(settings, days, left):
    settings.AUDIT_RETENTION_DAYS = days
    for age in (31, 29):
        record_action(UserFactory.create(), "LoggedIn")
        entry = LogEntry.objects.latest("pk")
        LogEntry.objects.exclude(pk=entry.pk).filter(timestamp__gt=timezone.now() - timedelta(days=1)).delete()
        LogEntry.objects.filter(pk=entry.pk).update(timestamp=timezone.now() - timedelta(days=age))
    tasks.prune_events()
    assert LogEntry.objects.count() == left


def test_zero_days_are_refused():
    with pytest.raises(CommandError, match="from 1 to"):
        call_command("prune_events", "--older-than-days", "0")
