"""The request for a new look at what is in the cluster and belongs to no project."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from projects.models import Inventory
from projects.services.queue import enqueue_task

INVENTORY_TASK = "provisioning.tasks.take_inventory"
# A task that did not begin by then was lost with its worker; one too many is a cheap LIST.
_LOST_AFTER = timedelta(seconds=30)


def request_inventory(now: datetime) -> bool:
    """Ask for a new inventory; return whether a task was put in the queue: one that waits there serves all who ask."""
    with transaction.atomic():
        Inventory.objects.get_or_create(pk=Inventory.PK)
        unqueued = Q(queued_at=None) | Q(queued_at__lt=now - _LOST_AFTER)
        is_queued = bool(Inventory.objects.filter(unqueued, pk=Inventory.PK).update(requested_at=now, queued_at=now))
        if not is_queued:
            return False
        if settings.REDIS_URL:
            transaction.on_commit(_send)
        else:
            _send()
    return True


def _send() -> None:
    enqueue_task(INVENTORY_TASK)
