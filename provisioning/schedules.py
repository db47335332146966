"""The schedule that brings everything to its end where nobody runs the watcher."""

from typing import Any

from django_q.models import Schedule

SWEEP = "sweep"


def ensure_schedules(**_: Any) -> None:
    """Make the sweep's schedule (each minute), or set it right. Takes what the post_migrate signal sends."""
    Schedule.objects.update_or_create(
        name=SWEEP,
        defaults={
            "func": "provisioning.tasks.sweep",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "repeats": -1,
        },
    )
