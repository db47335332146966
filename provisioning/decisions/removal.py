"""Decides how a project's objects are deleted or released. Pure."""

from datetime import datetime, timedelta

from projects.domain.states import DesiredState, Phase, Reason
from provisioning.decisions.readiness import is_past
from provisioning.decisions.types import Action, Decision, Desired, Observed, Remaining, Requeue, Status

# Objects that a message names.
_NAMED = 6


def decide_removal(desired: Desired, observed: Observed, now: datetime) -> Decision:
    """Decide a deletion or a cancellation, which remove sandbox and database together until nothing is left."""
    kept = [item for item in observed.remaining if item.is_kept]
    doomed = [item for item in observed.remaining if item not in kept]
    deadline = desired.deletion_deadline
    if deadline is None or desired.is_new_intent:
        deadline = now + timedelta(seconds=desired.timeout_s)
    going = _build_progress(desired, doomed, deadline)
    if any(item.is_deletable for item in doomed):
        return Decision(Action.DELETE_OBJECTS, going, Requeue.POLL, going, going)
    if kept:
        return Decision(Action.RELEASE_CLUSTER, going, Requeue.POLL, going, going)
    if not doomed:
        return _decide_end(desired)
    obstacles = " ".join(dict.fromkeys(item.obstacle for item in doomed if item.obstacle))
    if is_past(deadline, now):
        why = obstacles or "Probably a finalizer or a stopped operator holds them: look at both."
        late = (
            f"Not deleted within {desired.timeout_s} s: {_name(doomed)}. {why} Still monitoring. Retry requests "
            "the deletion again; Forget leaves the objects in the cluster."
        )
        failed = Status(Phase.FAILED, Reason.DEADLINE_EXCEEDED, late, deadline)
        return Decision(None, failed, Requeue.FAILED, failed, failed)
    if obstacles:
        message = f"{obstacles} Still to be deleted: {_name(doomed)}."
        blocked = Status(Phase.DELETING, Reason.DELETION_BLOCKED, message, deadline)
        return Decision(None, blocked, Requeue.POLL, blocked, blocked)
    return Decision(None, going, Requeue.POLL, going, going)


def _decide_end(desired: Desired) -> Decision:
    """Nothing is left: retire the rows, once."""
    if desired.state is DesiredState.REGISTERED:
        action = Action.FINISH_CANCELLATION
        status = Status(Phase.NEW, Reason.CANCELLED, "Provisioning cancelled. Every object that it created is deleted.")
    else:
        action = Action.FINISH_DELETION
        status = Status(Phase.DELETED, Reason.DELETED, "Every object that the panel created is deleted.")
    if desired.is_ended:
        return Decision(None, status, Requeue.NEVER)
    return Decision(action, status, Requeue.ONCE_MORE)


def _build_progress(desired: Desired, doomed: list[Remaining], deadline: datetime) -> Status:
    reason = Reason.CANCELLING if desired.state is DesiredState.REGISTERED else Reason.DELETING
    message = f"Deleting {_name(doomed)}." if doomed else "Removing the panel's labels from the Clusters that are kept."
    return Status(Phase.DELETING, reason, message, deadline)


def _name(items: list[Remaining]) -> str:
    labels = ", ".join(item.label for item in items[:_NAMED])
    return labels + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")
