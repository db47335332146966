"""What a pass writes: statuses, steps that were reached, events, and when the next pass runs."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, assert_never

from django.conf import settings
from django.db import transaction

from projects.domain.states import DesiredState, Level, Phase, Reason
from projects.models import DatabaseCluster, Project
from projects.services.events import record_event
from provisioning import heartbeats
from provisioning.decisions.interruptions import (
    close_interruption,
    count_failure,
    open_interruption,
    tell_rest,
)
from provisioning.decisions.readiness import State, explain_deadline, is_past, judge_cluster, judge_sandbox
from provisioning.decisions.types import Decision, ObservedCredentials, Requeue
from provisioning.objects.diff import describe
from provisioning.reconcile.context import PANEL, PassContext, Proof
from provisioning.reconcile.failures import PassFailure
from provisioning.reconcile.lease import LEASE, Lease
from provisioning.reconcile.observe import observe_urls

_FAILED_POLL_S = 20.0
# The next check of a settled project is at most this many times SETTLED_POLL_S ahead.
LONGEST_SETTLED_FACTOR = 1.2
_LONGEST_BACKOFF_S = 300.0
# Attempts to look for what a late effect has created after the end of a project. The inventory finds what they miss.
_MOST_LAST_LOOKS = 12


class PassResult(NamedTuple):
    """How a pass ended: when the next one runs (None: never), and whether the lease is released already."""

    next_pass_at: datetime | None
    is_released: bool = False


def record(context: PassContext, decision: Decision, now: datetime) -> PassResult:
    """End the pass: write the decision to the project's rows, in one transaction under the lease.

    Only the last decision of a pass is written, so that a project that fails repeatedly keeps its message. The intent
    counts as carried out. Raises LeaseLostError.
    """
    project, before = context.project, Phase(context.project.phase)
    note_progress(context, decision, now)
    is_proved_later = settings.VERIFY_CONNECTIONS and project.desired_state == DesiredState.RUNNING
    if context.database is not None and not is_proved_later:
        context.set(context.database, verification_requested_at=None)
    values: dict[str, object] = {
        "phase": decision.project.phase,
        "reason": decision.project.reason,
        "message": decision.project.message,
        "failures": 0,
        "observed_generation": project.wanted_generation,
    }
    if context.snapshot.drift is not None and (context.snapshot.is_drift_complete or context.snapshot.drift):
        values["drift"] = [describe(item) for item in context.snapshot.drift]
    if decision.project.phase is Phase.RUNNING and not project.has_run:
        values["ran_at"] = now
    if project.is_being_removed:
        values["deletion_deadline"] = decision.project.deadline
    return _write(context, values, decision, now, before)


def _write(
    context: PassContext, values: dict[str, object], decision: Decision, now: datetime, before: Phase
) -> PassResult:
    project = context.project
    after = decision.project.phase
    is_recovery = _note_interruption(context, values, decision, now, before)
    is_changed = any(getattr(project, name) != value for name, value in values.items())
    is_news = after is not before and after in (Phase.FAILED, Phase.RUNNING) and not is_recovery
    is_news = is_news or (decision.project.reason is Reason.DRIFTED and project.drift != values.get("drift", []))
    for row, status in ((context.database, decision.database), (context.sandbox, decision.sandbox)):
        if row is not None and status is not None:
            context.set(row, phase=status.phase, reason=status.reason, message=status.message, deadline=status.deadline)
    if is_news:
        level = Level.ERROR if after is Phase.FAILED else Level.INFO
        level = Level.WARNING if decision.project.reason is Reason.DRIFTED else level
        context.note(decision.project.reason, decision.project.message, level=level)
    following = next_pass_time(decision, now)
    if is_changed or not context.is_stored:
        return PassResult(following, context.store_last(following, **(values if is_changed else {})))
    return PassResult(following)


def _note_interruption(
    context: PassContext, values: dict[str, object], decision: Decision, now: datetime, before: Phase
) -> bool:
    """Follow how often and for how long a running project is not ready, with events; return whether an interruption
    has ended."""
    project, after = context.project, decision.project.phase
    state: Mapping[str, Any] = project.interruptions
    told: list[str] = []
    is_over = False
    if project.desired_state != DesiredState.RUNNING:
        state = {}
    elif after is Phase.RUNNING:
        is_over = before is not Phase.RUNNING and bool(state.get("open"))
        state, closing = close_interruption(state, now)
        state, told = tell_rest(state, now)
        told += [closing] if closing else []
    elif before is Phase.RUNNING and project.observed_generation >= project.wanted_generation:
        # A restart that this pass has begun is no interruption: it has its own event.
        is_restart = context.sandbox is not None and context.sandbox.ready_at is None
        if not is_restart:
            state = open_interruption(state, decision.project.reason, decision.project.message, now)
    for message in told:
        context.note("Recovered", message, level=Level.WARNING)
    values["interruptions"] = state
    return is_over


def note_progress(context: PassContext, decision: Decision, now: datetime) -> None:
    """Set on the rows, in memory, what was observed and which steps were reached. Raises KubeError."""
    snapshot, database, sandbox = context.snapshot, context.database, context.sandbox
    if database is not None and snapshot.cluster is not None:
        cluster = judge_cluster(snapshot.cluster)
        context.set(
            database,
            observed_phase=cluster.phase[:30],
            wanted_generation=cluster.generation,
            observed_generation=cluster.observed_generation,
        )
        if cluster.state is State.READY and database.running_at is None:
            context.set(database, running_at=now)
    if database is not None:
        _note_credentials(context, database, decision, now)
    if sandbox is not None and snapshot.statefulset is not None:
        rolled = judge_sandbox(snapshot.statefulset)
        context.set(sandbox, wanted_generation=rolled.generation, observed_generation=rolled.observed_generation)
        if decision.sandbox is not None and decision.sandbox.phase is Phase.RUNNING:
            context.set(sandbox, urls=observe_urls(context, sandbox))
            context.set(sandbox, ready_at=sandbox.ready_at or now)


def _note_credentials(context: PassContext, database: DatabaseCluster, decision: Decision, now: datetime) -> None:
    """Set what was found out about the credentials, with an event for each change."""
    snapshot = context.snapshot
    proof = snapshot.proofs.get(database.connection) if snapshot.proofs and database.connection else None
    if proof is not None:
        _note_verification(context, database, proof)
        # One proof for each request, which waits while the database can't be asked.
        context.set(database, verification_requested_at=None)
    is_replaced = snapshot.credentials is ObservedCredentials.REPLACED
    if is_replaced and not database.has_replaced_secret and decision.database is not None:
        context.note(
            Reason.SECRET_REPLACED,
            decision.database.message,
            resource=f"Cluster {database.name}",
            level=Level.WARNING,
        )
    if snapshot.credentials is not None:
        context.set(database, secret_replaced_at=(database.secret_replaced_at or now) if is_replaced else None)
    if snapshot.credentials is ObservedCredentials.SAME:
        context.set(database, secret_uid=snapshot.secret_uid, replacement_choice="")


def _note_verification(context: PassContext, database: DatabaseCluster, proof: Proof) -> None:
    """Set the outcome of connecting with the captured credentials, with an event when it changes."""
    if proof.is_verified:
        context.set(database, verified_at=database.verified_at or proof.at, proved_at=proof.at)
    else:
        context.set(database, verified_at=None)
    if proof.note != database.verification_note:
        context.set(database, verification_note=proof.note)
        context.note(
            "ConnectionVerified" if proof.is_verified else "ConnectionNotVerified",
            proof.note,
            resource=f"Cluster {database.name}",
            level=Level.INFO if proof.is_verified else Level.WARNING,
        )


def next_pass_time(decision: Decision, now: datetime) -> datetime | None:
    """Return when the next pass runs if nothing requests one earlier: by requeue, and at the latest at the next
    deadline."""
    match decision.requeue:
        case Requeue.POLL:
            delay_s = settings.POLL_S
        case Requeue.WATCHED:
            delay_s = settings.WATCHED_POLL_S if heartbeats.is_watched(now) else settings.POLL_S
        case Requeue.FAILED:
            delay_s = _FAILED_POLL_S
        case Requeue.SETTLED:
            delay_s = settings.SETTLED_POLL_S * random.uniform(0.8, LONGEST_SETTLED_FACTOR)  # noqa: S311 - spreads load, no secret  # nosec B311
        case Requeue.ONCE_MORE:
            return now + 2 * LEASE  # a pass that lost its lease has ended by then
        case Requeue.NEVER:
            return None
        case _ as unknown:
            assert_never(unknown)
    following = now + timedelta(seconds=delay_s)
    deadlines = [s.deadline for s in (decision.database, decision.sandbox, decision.project) if s and s.deadline]
    return min([following, *(deadline for deadline in deadlines if deadline > now)])


def _deadline_of(project: Project) -> datetime | None:
    """Return the deadline of the last intent."""
    if project.is_being_removed:
        return project.deletion_deadline
    rows = (project.database, project.sandbox)
    if project.observed_generation >= project.wanted_generation:
        for row in rows:
            if row and row.deadline:
                return row.deadline
    at = project.requested_at
    return at + timedelta(seconds=settings.READY_TIMEOUT_S) if at else None


def _explain_late(project: Project, last_seen: str) -> str:
    if not project.is_being_removed:
        return explain_deadline(settings.READY_TIMEOUT_S, "The project", last_seen)
    what = "cancellation" if project.is_cancelling else "deletion"
    return (
        f"The {what} was not done within {settings.READY_TIMEOUT_S} s. Last status: {last_seen} Still trying. Retry "
        "restarts the timer; Forget leaves the objects in the cluster."
    )


def record_failure(
    lease: Lease, failure: PassFailure, now: datetime, context: PassContext | None = None
) -> datetime | None:
    """Record a failure on the project with what the pass has found out (`context`); return when the next pass runs.

    The delay grows with each failure. On a project that has ended no failure is shown, and after a dozen no pass
    follows.
    """
    with transaction.atomic():
        project = Project.objects.select_for_update().get(pk=lease.project_id)
        if project.has_ended:
            is_last = project.failures >= _MOST_LAST_LOOKS
            lease.write(failures=0 if is_last else project.failures + 1)
            return None if is_last else now + _back_off(project.failures + 1, failure)
        phase, reason, message = Phase(project.phase), failure.reason, failure.message
        is_waiting = phase in Phase.in_progress() or phase is Phase.FAILED
        is_late = is_waiting and is_past(_deadline_of(project), now)
        if is_late and not failure.is_final:
            reason = Reason.DEADLINE_EXCEEDED
            message = _explain_late(project, message)
        if is_late or failure.is_final:
            phase = Phase.FAILED
        failures = project.failures + 1
        values: dict[str, object] = {"phase": phase, "reason": reason, "message": message, "failures": failures}
        if phase is Phase.FAILED:
            values["observed_generation"] = project.wanted_generation
        is_news, more = project.reason != reason, ""
        if is_news and phase is Phase.RUNNING:
            # Of a kind of failure that comes and goes, not each is told.
            values["interruptions"], said = count_failure(project.interruptions, reason, now)
            is_news, more = said is not None, said or ""
        lease.write(**values)
        if context is not None:
            context.write_changes()
        if is_news:
            record_event(
                project,
                actor=PANEL,
                by_panel=True,
                reason=reason,
                message=f"{failure.message} {more}".strip(),
                level=Level.WARNING,
                at=now,
            )
    return now + _back_off(failures, failure)


def _back_off(failures: int, failure: PassFailure) -> timedelta:
    backoff_s = min(_LONGEST_BACKOFF_S, settings.POLL_S * 2 ** min(failures - 1, 10))
    if failure.is_final:
        backoff_s = _LONGEST_BACKOFF_S
    wait_s = max(min(failure.retry_after_s or 0.0, _LONGEST_BACKOFF_S), backoff_s * random.uniform(0.7, 1.3))  # noqa: S311 - as above  # nosec B311
    return timedelta(seconds=wait_s)
