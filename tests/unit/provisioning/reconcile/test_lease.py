"""The lease on a project's row lets one pass write at a time."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from projects.domain.states import Phase
from projects.services.provisioning import request_delete, request_provision
from provisioning.reconcile.lease import LEASE, LeaseLostError, claim, release
from tests.support.queue import pass_of, queued_calls

pytestmark = pytest.mark.django_db


def taken(at):
    """Every task was given to a worker at that time: django-q keeps the row, locked for as long as it may take."""
    OrmQ.objects.update(lock=at + timedelta(seconds=Conf.RETRY))


def test_one_pass_holds_the_lease(project):
    now = timezone.now()
    first = claim(project.pk, now)
    assert first is not None
    assert claim(project.pk, now) is None
    later = claim(project.pk, now + LEASE + timedelta(seconds=1))
    assert later is not None
    with pytest.raises(LeaseLostError):
        first.write(message="too late")
    later.write(message="mine")
    project.refresh_from_db()
    assert project.message == "mine"


def test_pass_of_an_older_intent_writes_nothing(project):
    request_provision(project, actor="ann")
    lease = claim(project.pk, timezone.now())
    assert lease is not None
    request_delete(project, actor="bob")
    with pytest.raises(LeaseLostError):
        lease.write(phase=Phase.RUNNING)
    project.refresh_from_db()
    assert project.phase == Phase.DELETING


def test_second_claim_enqueues_another_pass(project):
    now = timezone.now()
    lease = claim(project.pk, now)
    assert lease is not None
    assert claim(project.pk, now) is None
    release(lease, next_pass_at=now + timedelta(hours=1), now=now)
    assert queued_calls() == [pass_of(project)]


def test_claim_succeeds_if_the_holder_has_just_ended(project):
    """The holder releases the lease after the claim has found it held and before it sets next_pass_at."""
    now = timezone.now()
    holder = claim(project.pk, now)
    asked = 0

    def end_in_between(execute, sql, params, many, context):
        nonlocal asked
        asked += sql.startswith("UPDATE")
        if asked == 2:
            asked += 1
            assert holder.write_last(now + timedelta(minutes=5), phase=Phase.RUNNING)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end_in_between):
        assert claim(project.pk, now) is not None


def test_release_schedules_the_next_pass(project):
    now = timezone.now()
    lease = claim(project.pk, now)
    assert lease is not None
    release(lease, next_pass_at=now + timedelta(hours=1), now=now)
    project.refresh_from_db()
    assert (project.lease_token, project.next_pass_at) == (None, now + timedelta(hours=1))
    assert queued_calls() == []
