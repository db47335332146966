"""The supervisor's watchdog restarts a hanging queue, and no slow one."""

import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from projects.services.provisioning import add_project
from provisioning import heartbeats
from provisioning.management.supervisor import ManagedProcess, Supervisor
from provisioning.management.watchdog import restart_hanging_queue
from provisioning.models import ProcessLease
from provisioning.reconcile.lease import claim

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(sys.platform != "linux", reason="Reads /proc.")]


@pytest.fixture(autouse=True)
def running_queue(supervisor: Supervisor) -> None:
    """A queue that has run for a minute."""
    supervisor.start(ManagedProcess("queue", "queue", ("sleep", "300")))
    supervisor._children["queue"].started_at_s -= 60


def give_out_signs_of_life() -> None:
    """The queue has taken three tasks a while ago, and keeps their rows until they are done."""
    now = timezone.now()
    ProcessLease.objects.create(name=heartbeats.QUEUE, holder="here:1", renewed_at=now)
    for _ in range(3):
        async_task("provisioning.tasks.beat")
    OrmQ.objects.update(lock=now - timedelta(seconds=20) + timedelta(seconds=Conf.RETRY))


def test_queue_that_takes_no_task_is_restarted(supervisor: Supervisor, said: list[str]) -> None:
    give_out_signs_of_life()
    restart_hanging_queue(supervisor)
    assert said == ["The queue does not acknowledge tasks that its workers have finished. Restarting the queue."]


def test_slow_passes_are_not_interrupted(supervisor: Supervisor, said: list[str]) -> None:
    """Signs of life wait behind them, given out already."""
    give_out_signs_of_life()
    for number in range(settings.Q_CLUSTER["workers"]):
        assert claim(add_project(f"p{number}", actor="tester").pk, timezone.now()) is not None
    restart_hanging_queue(supervisor)
    assert said == []
