"""One pass for one project: observe, decide, apply, record. It holds a lease, never waits, and may be repeated."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from django.utils import timezone

from projects.confidential.redaction import redaction_scope
from projects.domain.states import DesiredState, Reason
from provisioning import heartbeats
from provisioning.decisions.running import decide
from provisioning.decisions.types import Decision, Observed, Requeue
from provisioning.reconcile.apply import apply_action
from provisioning.reconcile.context import PassContext, build_context
from provisioning.reconcile.desired import build_desired
from provisioning.reconcile.drift import observe_drift
from provisioning.reconcile.failures import PassFailure, explain_failure
from provisioning.reconcile.lease import Lease, LeaseLostError, claim, release
from provisioning.reconcile.observe import observe_existing_database, observe_running
from provisioning.reconcile.record import PassResult, note_progress, record, record_failure
from provisioning.reconcile.teardown import observe_remaining

logger = logging.getLogger(__name__)

# Far more than any project needs: a pass that takes as many steps has a bug.
_MOST_STEPS = 20
_TOO_MANY_STEPS = PassFailure(
    Reason.INTERNAL_ERROR,
    f"An internal error occurred: a pass took more than {_MOST_STEPS} steps. The panel retries automatically. Please "
    "report this.",
)


def run_pass(project_id: int) -> None:
    """Bring a project as close to its desired state as is possible now, and record what was observed.

    Return at once if another pass holds the project's lease. Failures are recorded on the project, not raised. The next
    pass is always scheduled.
    """
    lease = claim(project_id, timezone.now())
    if lease is None:
        return
    result = PassResult(lease.until)
    try:
        with redaction_scope(f"project {project_id}"):
            result = _reconcile(lease)
    except LeaseLostError:
        logger.info("Project %s: a newer pass has taken over.", project_id)
        return
    finally:
        if not result.is_released:
            release(lease, next_pass_at=result.next_pass_at, now=timezone.now())


def _reconcile(lease: Lease) -> PassResult:
    """Take steps until there is none left or the lease is about to end."""
    context = None
    try:
        context = build_context(lease)
        if context.project.is_forgotten:
            return PassResult(None)
        for _ in range(_MOST_STEPS):
            heartbeats.beat_queue()  # a slow API server must not make the queue look dead
            now = timezone.now()
            decision = observe_and_decide(context, now)
            if decision.action is None:
                return record(context, decision, now)
            if not lease.has_time_left(timezone.now()):
                if not context.is_stored:
                    context.store()
                return PassResult(now)
            apply_action(decision.action, context, now)
            if decision.requeue is Requeue.ONCE_MORE:
                return record(context, decision, now)
            note_progress(context, decision, now)
        return PassResult(record_failure(lease, _TOO_MANY_STEPS, timezone.now(), context))
    except LeaseLostError:
        raise
    except Exception as error:  # noqa: BLE001 - any failure is recorded on the project, and the pass tried again
        return PassResult(record_failure(lease, explain_failure(error), timezone.now(), context))


def observe_and_decide(context: PassContext, now: datetime) -> Decision:
    """Return the next action and the status to record. Changes neither the cluster nor the rows.

    Raises KubeError, UndecidedClusterError and UndecryptableValueError.
    """
    observed = _observe(context, now)
    return decide(build_desired(context, now), observed, now)


def _observe(context: PassContext, now: datetime) -> Observed:
    database = context.database
    match DesiredState(context.project.desired_state):
        case DesiredState.RUNNING:
            if database is None:
                return observe_existing_database(context)
            observed = observe_running(context, database, now)
            return replace(observed, drift=observe_drift(context, database, now)) if observed.sandbox else observed
        case DesiredState.REGISTERED | DesiredState.DELETED:
            return observe_remaining(context)
        case _ as unknown:
            assert_never(unknown)
