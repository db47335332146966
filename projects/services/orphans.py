"""What people ask for about orphans: the wish, its event and its task in one transaction."""

from django.conf import settings
from django.db import transaction

from projects.audit.log import record_action
from projects.domain.states import Level
from projects.models import Orphan, OrphanWish
from projects.services.events import record_event
from projects.services.outcome import Outcome
from projects.services.queue import enqueue_task


def request_orphan(orphan: Orphan, wish: OrphanWish, *, actor: str, is_sure: bool = False) -> Outcome:
    """Ask that an orphan is deleted, or its labels taken off. A task looks again, and acts if it still is one."""
    with transaction.atomic():
        current = Orphan.objects.select_for_update().filter(pk=orphan.pk, uid=orphan.uid).first()
        if current is None:
            return Outcome(False, f"{orphan} is not among the orphans any more. Look again.")
        refusal = current.explain_refusal(wish, is_sure=is_sure)
        if refusal:
            return Outcome(False, refusal)
        current.wish, current.wished_by, current.trouble = wish, actor, ""
        current.save(update_fields=["wish", "wished_by", "trouble"])
        message = f"{actor} asked to {wish} the orphan {current}."
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
        pk = current.pk
        if settings.REDIS_URL:
            transaction.on_commit(lambda: _send(pk))
        else:
            _send(pk)
    noun = "deletion" if wish is OrphanWish.DELETE else "release"
    return Outcome(True, f"The {noun} of {orphan.kind} {orphan.namespace}/{orphan.name} was put in the queue.")


def _send(pk: int) -> None:
    enqueue_task(ORPHAN_TASK, pk)


ORPHAN_TASK = "provisioning.tasks.end_orphan"
