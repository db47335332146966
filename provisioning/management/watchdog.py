"""The watchdog of `manage.py up`: restarts a queue whose workers hang."""

from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from projects.models import Project
from provisioning import heartbeats
from provisioning.management.supervisor import Supervisor
from provisioning.queue.sweep import count_unacknowledged

# The watcher enqueues a heartbeat every 5 s, a schedule every minute. A queue that is silent for longer hangs, as
# django-q2 does when an idle worker is killed (its issue 23). It is restarted within 30 s.
_MAX_SILENCE_S, _MAX_SILENCE_UNWATCHED_S = 15.0, 100.0
# One or two may have been lost with a worker that was killed.
_MAX_UNACKNOWLEDGED = 3


def restart_hanging_queue(supervisor: Supervisor) -> None:
    # Imported here: the Kubernetes client takes a second to import.
    from provisioning.tasks import beat, path_of

    now, uptime_s = timezone.now(), supervisor.uptime_s("queue")
    try:
        alive = heartbeats.read()
        unacknowledged = count_unacknowledged(path_of(beat), now, now - timedelta(seconds=uptime_s))
        # A queue is busy, and does not hang, if every worker runs a pass that waits for a slow API server: each pass
        # has a lease. A single lease may belong to a worker that was killed.
        running_passes = Project.objects.filter(lease_until__gt=now).count()
        is_busy = running_passes >= settings.Q_CLUSTER["workers"]
    except DatabaseError:
        # A database that is briefly unavailable doesn't justify a restart of the queue.
        connection.close()
        return
    max_silence_s = _MAX_SILENCE_S if alive.watcher.alive else _MAX_SILENCE_UNWATCHED_S
    is_silent = (alive.queue.age_s or 0.0) > max_silence_s and not is_busy
    if (is_silent or not alive.queue.alive) and uptime_s > max_silence_s:
        supervisor.restart("queue", f"The queue workers have been silent for more than {max_silence_s:g} s.")
    elif unacknowledged >= _MAX_UNACKNOWLEDGED and not is_busy:  # the queue hands out more than workers begin
        supervisor.restart("queue", "The queue does not acknowledge tasks that its workers have finished.")
