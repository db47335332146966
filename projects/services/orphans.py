"""The request to delete or release an orphaned object: saved with its event and its task in one transaction."""

from django.db import transaction

from projects.audit.log import record_action
from projects.domain.states import Level
from projects.models import Orphan, OrphanAction
from projects.services.broker import enqueue_task
from projects.services.events import record_event
from projects.services.outcome import Outcome

ORPHAN_TASK = "provisioning.tasks.end_orphan"


def request_orphan(orphan: Orphan, action: OrphanAction, *, actor: str, is_sure: bool = False) -> Outcome:
    """Request that an orphaned object is deleted, or its labels are removed. A task checks it again before it acts.

    `is_sure`: whether the actor confirms that no other panel owns the object.
    """
    noun = "deletion" if action is OrphanAction.DELETE else "release"
    with transaction.atomic():
        current = Orphan.objects.select_for_update().filter(pk=orphan.pk, uid=orphan.uid).first()
        if current is None:
            return Outcome(False, f"{orphan} is no longer an orphaned object. Refresh the list.")
        refusal = current.find_refusal(action, is_sure=is_sure)
        if refusal:
            return Outcome.refused(refusal)
        current.requested_action, current.requested_by, current.trouble = action, actor, ""
        current.save(update_fields=["requested_action", "requested_by", "trouble"])
        message = f"{actor} requested the {noun} of the orphaned object {current}."
        if current.project is None:
            record_action(current, "OrphanRequested", by=actor, message=message)
        else:
            record_event(
                current.project,
                actor=actor,
                reason="OrphanRequested",
                message=message,
                resource=f"{current.kind} {current.name}",
                level=Level.WARNING,
            )
        enqueue_task(ORPHAN_TASK, current.pk)
    return Outcome(True, f"{noun.capitalize()} of {orphan.kind} {orphan.namespace}/{orphan.name} started.")
