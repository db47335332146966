"""What the queue does by the clock: the sweep where nobody runs the watcher, and the end of old events."""

from typing import Any

from django_q.models import Schedule

SWEEP, PRUNE = "sweep", "prune events"


def ensure_schedules(**_: Any) -> None:
    """Make the schedules of the sweep (each minute) and of old events (daily), or set them right.

    Takes what the post_migrate signal sends.
    """
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={
            "func": "provisioning.tasks.sweep",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "repeats": -1,
        },
    )
    Schedule.objects.update_or_create(
        name=PRUNE, defaults={"func": "provisioning.tasks.prune_events", "schedule_type": Schedule.DAILY, "repeats": -1}
    )
