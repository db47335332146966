"""The queue in Redis: a task that waits there is no lost one, and a lost one is given out again."""

from pathlib import Path

from tests.support.commands import shell

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
# It was put there long ago, and a worker has begun others since.
Project.objects.filter(pk=project.pk).update(queued_at=timezone.now() - timedelta(hours=1))
heartbeats.beat_queue()
sweep_once(timezone.now())
print('waits:', queue.queue_size())
queue.dequeue()  # a worker takes it and dies
sweep_once(timezone.now())
print('lost and given out again:', queue.queue_size())
"""


def test_only_what_no_longer_waits_is_lost(repository: Path, state_dir: Path, redis_url: str):
    said = shell(repository, state_dir, SWEEPS, REDIS_URL=redis_url)
    assert said.splitlines() == ["waits: 1", "lost and given out again: 1"]
