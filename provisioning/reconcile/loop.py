"""One pass for one project: observe, decide, apply, record. Short, repeatable, fenced by a lease; it never waits."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from django.conf import settings
from django.db.models import prefetch_related_objects
from django.utils import timezone

from projects.confidential.redaction import redaction_scope
from projects.domain.states import CredentialsSource, DesiredState, Origin, Reason
from projects.models import DatabaseCluster, Sandbox
from provisioning import heartbeats
from provisioning.decisions.running import decide
from provisioning.decisions.types import Decision, Desired, DesiredDatabase, DesiredSandbox, Requeue
from provisioning.reconcile.apply_database import ACTIONS, ensure_database
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.drift import choose_drift_response, observe_drift
from provisioning.reconcile.failures import PassFailure, explain_failure
from provisioning.reconcile.lease import Lease, LeaseLostError, claim, release
from provisioning.reconcile.observe import World, default_connection, observe_running
from provisioning.reconcile.record import PassResult, note_steps, record, record_failure
from provisioning.reconcile.teardown import observe_remaining

logger = logging.getLogger(__name__)

# Far more than any flow needs: a decision that never comes to rest is an error, not a busy loop.
_MOST_STEPS = 20
_RESTLESS = PassFailure(Reason.INTERNAL_ERROR, "A pass did not come to rest; it is tried again. Please report this.")


def run_pass(project_id: int) -> None:
    """Bring the project as near to what is wanted as is possible now, and record what was observed.

    Returns at once while another pass holds the project. Troubles are recorded on the project, never raised; the
    next look is always scheduled.
    """
    now = timezone.now()
    lease = claim(project_id, now)
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
    """Take steps until there is none left."""
    context = None
    try:
        context = build_context(lease)
        if context.project.is_forgotten:
            return PassResult(None)
        for _ in range(_MOST_STEPS):
            now = timezone.now()
            heartbeats.beat_queue()  # a pass that an API server holds up is no silence of the queue
            if not lease.has_time_left(now):
                if not context.is_stored:
                    context.store()
                return PassResult(now)
            decision = observe_and_decide(context, now)
            if decision.action is None:
                return record(context, decision, now)
            note_steps(context, decision, now)
            ACTIONS[decision.action](context, now)
            if decision.requeue is Requeue.ONCE_MORE:  # its rows have come to their end
                return record(context, decision, now)
        return PassResult(record_failure(lease, _RESTLESS, timezone.now(), context))
    except LeaseLostError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the row says so and is looked at again
        return PassResult(record_failure(lease, explain_failure(error), timezone.now(), context))


def build_context(lease: Lease) -> PassContext:
    """Return the project's rows, as they are under the lease, and a world that was not looked at yet."""
    project = lease.project
    if getattr(project, "has_variables", True):
        prefetch_related_objects([project], "variables")
    return PassContext(lease, World(), project, project.database, project.sandbox)


def observe_and_decide(context: PassContext, now: datetime) -> Decision:
    """Return what is to be done next, and what to say meanwhile. Raises KubeError."""
    project = context.project
    match DesiredState(project.desired_state):
        case DesiredState.RUNNING:
            if context.database is None:
                ensure_database(context)
            assert context.database is not None  # noqa: S101 - ensure_database made it  # nosec B101
            observed = observe_running(context.world, project, context.database, context.sandbox, now)
            if observed.sandbox is not None:
                observe_drift(context.world, project, context.database, context.sandbox)
                observed = replace(observed, drift=context.world.drift or ())
            return decide(_build_desired(context), observed, now)
        case DesiredState.REGISTERED | DesiredState.DELETED:
            rows = [*project.databases.all(), *project.sandboxes.all()]
            # Rows are stored before the first call: where there is no row, nothing was ever made.
            namespaces = {row.namespace for row in rows}
            return decide(_build_desired(context), observe_remaining(context.world, project, namespaces), now)
        case _ as unknown:
            assert_never(unknown)


def _build_desired(context: PassContext) -> Desired:
    """Return the rows as plain values."""
    project, database, sandbox = context.project, context.database, context.sandbox
    return Desired(
        uid=str(project.uid),
        state=DesiredState(project.desired_state),
        timeout_s=settings.READY_TIMEOUT_S,
        is_new_intent=project.observed_generation < project.wanted_generation,
        may_replace=project.observed_generation < project.asked_generation,
        database=_desired_database(database) if database else None,
        sandbox=_desired_sandbox(sandbox) if sandbox else None,
        is_cancelled=project.desired_state == DesiredState.REGISTERED and project.wanted_generation > 0,
        is_ended=not project.is_being_removed,
        is_default_available=default_connection(project) is not None,
        drift_response=choose_drift_response(project, context.world.drift or (), timezone.now()),
        verifies=settings.VERIFY_CONNECTIONS,
        deletion_deadline=project.deletion_deadline,
    )


def _desired_database(row: DatabaseCluster) -> DesiredDatabase:
    return DesiredDatabase(
        name=row.name,
        origin=Origin(row.origin),
        object_uid=row.object_uid,
        is_applied=row.applied_at is not None,
        has_run=row.running_at is not None,
        is_reported_missing=row.reason == Reason.CLUSTER_MISSING,
        captured_at=row.captured_at,
        is_verified=row.is_verified,
        is_rotating=row.rotation_requested_at is not None,
        deadline=row.deadline,
    )


def _desired_sandbox(row: Sandbox) -> DesiredSandbox:
    return DesiredSandbox(
        name=row.name,
        is_applied=row.applied_at is not None,
        credentials=CredentialsSource(row.credentials),
        environment_digest=row.environment_digest,
        deadline=row.deadline,
    )
