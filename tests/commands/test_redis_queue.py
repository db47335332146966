"""The task queue in Redis: tasks of a rolled-back transaction are not sent, and lost tasks are enqueued again."""

from pathlib import Path

from tests.support.commands import shell

ROLLBACK = """
from contextlib import suppress
from django.db import transaction
from django_q.brokers import get_broker
from projects.services.provisioning import add_project, request_provision

project = add_project('aaa', actor='ann')
with suppress(InterruptedError), transaction.atomic():
    request_provision(project, actor='ann')
    raise InterruptedError
print('after a rollback:', get_broker().queue_size())
request_provision(project, actor='ann')
print('after a commit:', get_broker().queue_size())
"""

SWEEPS = """
from datetime import timedelta
from django.utils import timezone
from django_q.brokers import get_broker
from projects.models import Project
from projects.services.queue import enqueue_pass
from projects.services.provisioning import add_project, request_provision
from provisioning import heartbeats
from provisioning.queue.sweep import sweep_once

queue = get_broker()
project = add_project('aaa', actor='ann')
request_provision(project, actor='ann')
assert queue.queue_size() == 1
# The task is old, and a worker has started others since.
Project.objects.filter(pk=project.pk).update(queued_at=timezone.now() - timedelta(hours=1))
heartbeats.beat_queue()
sweep_once(timezone.now())
print('waiting:', queue.queue_size())
queue.dequeue()  # a worker takes it and dies
sweep_once(timezone.now())
print('lost and enqueued again:', queue.queue_size())
"""


def test_task_is_sent_when_its_transaction_commits(repository: Path, state_dir: Path, redis_url: str):
    lines = shell(repository, state_dir, ROLLBACK, REDIS_URL=redis_url).splitlines()
    assert lines == ["after a rollback: 0", "after a commit: 1"]


def test_waiting_task_is_not_lost(repository: Path, state_dir: Path, redis_url: str):
    lines = shell(repository, state_dir, SWEEPS, REDIS_URL=redis_url).splitlines()
    assert lines == ["waiting: 1", "lost and enqueued again: 1"]
