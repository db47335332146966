"""The request for a new inventory: of the Clusters that no project owns, and of orphaned objects."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from projects.models import Inventory
from projects.services.broker import enqueue_task

INVENTORY_TASK = "provisioning.tasks.take_inventory"
# A task that has not started by then was lost with its worker. A second one costs a LIST.
_LOST_AFTER = timedelta(seconds=30)


def request_inventory(now: datetime) -> bool:
    """Request a new inventory; return whether a task was enqueued. A task that is waiting serves every request."""
    with transaction.atomic():
        Inventory.objects.get_or_create(pk=Inventory.PK)
        unqueued = Q(queued_at=None) | Q(queued_at__lt=now - _LOST_AFTER)
        is_enqueued = bool(Inventory.objects.filter(unqueued, pk=Inventory.PK).update(requested_at=now, queued_at=now))
        if is_enqueued:
            enqueue_task(INVENTORY_TASK)
    return is_enqueued
