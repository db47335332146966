"""How what a project has in the cluster comes to its end: (wanted, remaining, now) to a Decision. Pure."""

from datetime import datetime, timedelta

from projects.states import Phase, Reason
from provisioning.readiness import is_past
from provisioning.terms import Action, Decision, Pace, Seen, Status, Wanted


def decide_removal(wanted: Wanted, seen: Seen, now: datetime) -> Decision:
    """Sandbox and database go together; the deletion is finished when nothing of them is left."""
    released = [item for item in seen.remaining if item.is_adopted and not wanted.deletes_adopted]
    doomed = [item for item in seen.remaining if item not in released]
    names = ", ".join(item.label for item in doomed[:6]) + (f" and {len(doomed) - 6} more" if len(doomed) > 6 else "")
    deadline = wanted.deletion_deadline
    if deadline is None or wanted.is_new_intent:
        deadline = now + timedelta(seconds=wanted.timeout_s)
    deleting = Status(Phase.DELETING, Reason.DELETING, f"Being deleted: {names}.", deadline)
    if any(item.is_ours and not item.is_deleting for item in doomed):
        return Decision(Action.DELETE_OBJECTS, deleting, Pace.POLL, deleting, deleting)
    if released:
        return Decision(Action.RELEASE_CLUSTER, deleting, Pace.POLL, deleting, deleting)
    if not doomed:
        gone = Status(Phase.DELETED, Reason.DELETED, "Everything of it is gone from the cluster.")
        return Decision(Action.FINISH_DELETION, gone, Pace.NEVER, gone, gone)
    if is_past(deadline, now):
        late = (
            f"Still there {wanted.timeout_s} s after the deletion was asked for: {names}. Look at their finalizers "
            "and at the operator that owns them; press Retry to ask again. The panel goes on looking."
        )
        failed = Status(Phase.FAILED, Reason.DEADLINE_EXCEEDED, late, deadline)
        return Decision(None, failed, Pace.FAILED, failed, failed)
    return Decision(None, deleting, Pace.POLL, deleting, deleting)
