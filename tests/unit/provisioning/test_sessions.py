"""Expired sessions are deleted daily."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import Schedule

from provisioning import tasks

pytestmark = pytest.mark.django_db


def add_session(key: str, age: timedelta) -> None:
    Session.objects.create(session_key=key, session_data="", expire_date=timezone.now() - age)


def test_only_expired_sessions_are_deleted():
    add_session("old", timedelta(days=2))
    add_session("just", timedelta(seconds=1))
    add_session("live", timedelta(hours=-1))
    tasks.clear_sessions()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["live"]


def test_schedule_is_daily_and_exists_once():
    tasks.ensure_schedules()
    tasks.ensure_schedules()
    schedule = Schedule.objects.get(func="provisioning.tasks.clear_sessions")
    assert (schedule.schedule_type, schedule.repeats) == (Schedule.DAILY, -1)
