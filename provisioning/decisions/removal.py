"""How what a project has in the cluster comes to its end: (desired, remaining, now) to a Decision. Pure."""

from datetime import datetime, timedelta

from projects.domain.states import DesiredState, Phase, Reason
from provisioning.decisions.readiness import is_past
from provisioning.decisions.types import Action, Decision, Desired, Observed, Remaining, Requeue, Status

_NAMED = 6


def decide_removal(desired: Desired, observed: Observed, now: datetime) -> Decision:
    """Sandbox and database go together, by a deletion or by a cancellation; it is done when nothing of them is left."""
    kept = [item for item in observed.remaining if item.is_kept]
    doomed = [item for item in observed.remaining if item not in kept]
    deadline = desired.deletion_deadline
    if deadline is None or desired.is_new_intent:
        deadline = now + timedelta(seconds=desired.timeout_s)
    going = _say_going(desired, doomed, deadline)
    if any(item.is_deletable for item in doomed):
        return Decision(Action.DELETE_OBJECTS, going, Requeue.POLL, going, going)
    if kept:
        return Decision(Action.RELEASE_CLUSTER, going, Requeue.POLL, going, going)
    if not doomed:
        return _decide_end(desired)
    if is_past(deadline, now):
        late = (
            f"Still there {desired.timeout_s} s after {_request_of(desired)} was asked for: {_name(doomed)}. Look at "
            "their finalizers and at the operator that owns them; press Retry to ask again, or Forget to leave them "
            "behind. The panel goes on looking."
        )
        failed = Status(Phase.FAILED, Reason.DEADLINE_EXCEEDED, late, deadline)
        return Decision(None, failed, Requeue.FAILED, failed, failed)
    return Decision(None, going, Requeue.POLL, going, going)


def _decide_end(desired: Desired) -> Decision:
    """Nothing is left: the rows are retired, once."""
    if desired.state is DesiredState.REGISTERED:
        action = Action.FINISH_CANCELLATION
        message = "Everything that was made for it is gone from the cluster."
        status = Status(Phase.NEW, Reason.CANCELLED, message)
    else:
        action = Action.FINISH_DELETION
        status = Status(
            Phase.DELETED, Reason.DELETED, "Everything that the panel made for it is gone from the cluster."
        )
    if desired.is_ended:
        return Decision(None, status, Requeue.NEVER)
    return Decision(action, status, Requeue.ONCE_MORE)


def _say_going(desired: Desired, doomed: list[Remaining], deadline: datetime) -> Status:
    what = _name(doomed) or "its labels on what stays"
    if desired.state is DesiredState.REGISTERED:
        return Status(Phase.DELETING, Reason.CANCELLING, f"Being taken back: {what}.", deadline)
    return Status(Phase.DELETING, Reason.DELETING, f"Being deleted: {what}.", deadline)


def _request_of(desired: Desired) -> str:
    return "the cancellation" if desired.state is DesiredState.REGISTERED else "the deletion"


def _name(items: list[Remaining]) -> str:
    labels = ", ".join(item.label for item in items[:_NAMED])
    return labels + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")
