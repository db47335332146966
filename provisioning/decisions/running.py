"""Decides the next action of a pass and the status of the rows: (desired, observed, now) to a Decision. Pure.

A pass calls `decide` again after each action, with what it has observed since, until there is no action left.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason, ReplacementChoice
from provisioning.decisions.proofs import explain_replaced
from provisioning.decisions.readiness import Readiness, State, explain_deadline, is_past
from provisioning.decisions.removal import decide_removal
from provisioning.decisions.types import (
    Action,
    Decision,
    Desired,
    DesiredDatabase,
    DesiredSandbox,
    Observed,
    ObservedCredentials,
    Requeue,
    Status,
    Verification,
)
from provisioning.objects.credentials import Missing
from provisioning.objects.diff import summarize

# A database that neither answers nor refuses for this long is probably behind a network policy that excludes the panel.
UNANSWERED_GRACE = timedelta(seconds=15)
# A Cluster is Running before it says that its spec is rolled out for at most 1 s.
ROLL_OUT_GRACE = timedelta(seconds=15)
_MEND_REJECTED = (
    "They come from the database's Secret: probably the password was changed in only one of the two places. The "
    "sandbox's open connections continue; it can't open new ones. Set the Secret's password with psql in the "
    "database's Pod, or put the current one into the Secret. The panel retries automatically."
)


def decide(desired: Desired, observed: Observed, now: datetime) -> Decision:
    """Return the next action towards the desired state, and the status to record. `now` is timezone-aware."""
    match desired.state:
        case DesiredState.REGISTERED if desired.is_cancelled:
            return decide_removal(desired, observed, now)
        case DesiredState.REGISTERED:
            status = Status(
                Phase.NEW,
                Reason.NOT_REQUESTED,
                "Not provisioned yet. Press Provision to create the database and the sandbox.",
            )
            return Decision(None, status, Requeue.NEVER)
        case DesiredState.RUNNING:
            return _hold_back(desired, _decide_running(desired, observed, now))
        case DesiredState.DELETED:
            return decide_removal(desired, observed, now)
        case _:
            assert_never(desired.state)


def _hold_back(desired: Desired, decision: Decision) -> Decision:
    """Keep the objects of a project as they are where nothing may be created or changed."""
    if not desired.forbidden or decision.action in (None, Action.CAPTURE_CREDENTIALS):
        return decision
    message = (
        f"{desired.forbidden} The project's objects are kept as they are. Delete the project, or allow the namespace."
    )
    return Decision(None, Status(Phase.FAILED, Reason.NAMESPACE_NOT_ALLOWED, message), Requeue.FAILED)


# --- running ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _DatabaseStep:
    """The database is usable (action None, status Running), or this is what to do or to wait for."""

    action: Action | None
    status: Status
    requeue: Requeue = Requeue.WATCHED


def _decide_running(desired: Desired, observed: Observed, now: datetime) -> Decision:
    if desired.database is None:
        return _decide_new_database(observed)
    step = _decide_database(desired, desired.database, observed, now)
    is_usable = step.status.phase is Phase.RUNNING and step.action is None
    if is_usable:
        decision = _decide_sandbox(desired, observed, step.status, now)
        is_changing = observed.cluster.is_changing and decision.requeue is Requeue.SETTLED
        return replace(decision, requeue=Requeue.WATCHED) if is_changing else decision
    is_late = step.status.phase is Phase.FAILED
    if is_late and step.action is None and desired.is_default_available and not _has_captured(desired.sandbox):
        return _decide_default_sandbox(desired, observed, step, now)
    project = step.status
    if not is_late:
        project = replace(project, phase=Phase.WAITING)
    return Decision(step.action, project, step.requeue, database=step.status, sandbox=_pending_sandbox(desired, step))


def _decide_new_database(observed: Observed) -> Decision:
    """Add the database row: for the Cluster that exists, else for a new one."""
    existing = observed.existing
    message = f"Using the existing Cluster {existing.name}." if existing else "Creating a Cluster."
    return Decision(Action.ENSURE_DATABASE, Status(Phase.WAITING, Reason.REQUESTED, message), Requeue.POLL)


def _has_captured(sandbox: DesiredSandbox | None) -> bool:
    return sandbox is not None and sandbox.credentials is CredentialsSource.CAPTURED


def _pending_sandbox(desired: Desired, step: _DatabaseStep) -> Status | None:
    if desired.sandbox is None or desired.sandbox.is_applied:
        return None
    return Status(Phase.WAITING, Reason.WAITING_FOR_DATABASE, f"Waiting for the database. {step.status.message}")


def _decide_database(desired: Desired, database: DesiredDatabase, observed: Observed, now: datetime) -> _DatabaseStep:
    cluster = observed.cluster
    is_unapplied = not database.is_applied and database.origin is Origin.CREATED

    def wait(reason: Reason, message: str, requeue: Requeue = Requeue.WATCHED) -> _DatabaseStep:
        return _wait_for_database(desired, database, reason, message, requeue, now)

    if cluster.state is State.ABSENT:
        if is_unapplied:
            status = Status(Phase.CREATING, Reason.REQUESTED, f"Applying the Cluster {database.name}.")
            return _DatabaseStep(Action.APPLY_CLUSTER, status)
        return _decide_vanished(desired, database, now)
    # A label is no proof: the row names the Cluster by its uid as soon as an answer has told it.
    if cluster.owner not in (None, desired.uid) or database.object_uid not in ("", cluster.uid):
        message = (
            f"The Cluster {database.name} is not this project's: somebody else created or labeled it. "
            "Remove the Cluster or its label, or delete this project and add another one."
        )
        return _DatabaseStep(None, Status(Phase.FAILED, Reason.CLUSTER_NOT_OURS, message), Requeue.FAILED)
    if cluster.state is State.DELETING:
        return wait(cluster.reason, cluster.message)
    if database.origin is Origin.ADOPTED and (cluster.owner is None or not database.is_applied):
        status = Status(Phase.CREATING, Reason.REQUESTED, f"Adopting the Cluster {database.name}.")
        return _DatabaseStep(Action.ADOPT_CLUSTER, status)
    if is_unapplied or (cluster.owner is None and database.origin is Origin.CREATED):
        status = Status(Phase.CREATING, Reason.REQUESTED, f"Applying the Cluster {database.name}.")
        return _DatabaseStep(Action.APPLY_CLUSTER, status)
    if cluster.state is State.STOPPED:
        # No deadline: it waits for a person.
        return _DatabaseStep(None, Status(Phase.FAILED, cluster.reason, cluster.message), Requeue.FAILED)
    if cluster.is_changing and observed.serves:
        return _DatabaseStep(None, Status(Phase.RUNNING, Reason.READY, f"{cluster.message} The database serves."))
    if cluster.state is not State.READY and not _is_believed(desired, database, cluster, now):
        drift = _explain_drift(desired, observed, "Cluster")
        cause = f" Changed outside the panel: {drift}" if drift else ""
        return wait(cluster.reason, cluster.message + cause)
    if database.is_rotating:
        # Before the Secret is compared: until the rotation is done, it may hold the old password or the new one.
        changing = Status(Phase.RUNNING, Reason.REQUESTED, "Rotating the database password.")
        return _DatabaseStep(Action.ROTATE_PASSWORD, changing)
    return _decide_credentials(desired, database, observed, now)


def _is_believed(desired: Desired, database: DesiredDatabase, cluster: Readiness, now: datetime) -> bool:
    """Whether a Cluster counts as Running although it does not say that its spec is rolled out: no version of
    KubeBlocks takes that long, so this one probably never says it."""
    if cluster.phase != "Running" or cluster.observed_generation < cluster.generation or database.deadline is None:
        return False
    return now - (database.deadline - timedelta(seconds=desired.timeout_s)) > ROLL_OUT_GRACE


def _decide_vanished(desired: Desired, database: DesiredDatabase, now: datetime) -> _DatabaseStep:
    """The Cluster does not exist. Its name is never used again: KubeBlocks has returned wrong passwords then."""
    if database.origin is Origin.ADOPTED and not database.is_applied:
        message = (
            f"The Cluster {database.name} does not exist, so it can't be adopted. "
            "Adopt another Cluster for this project, or delete the project."
        )
        missing = Status(Phase.FAILED, Reason.CLUSTER_MISSING, message)
        # A Cluster that people chose (its uid is known) gets no substitute; for one that the panel found, the next step
        # looks for another.
        return _DatabaseStep(None if database.object_uid else Action.REPLACE_DATABASE, missing, Requeue.FAILED)
    is_expendable = database.origin is Origin.CREATED and not database.has_run
    # Only a request made after people were told that the data is gone may replace it with an empty database.
    is_asked_for = desired.may_replace and database.is_reported_missing
    if is_asked_for or (is_expendable and not is_past(database.deadline, now)):
        message = f"The Cluster {database.name} is gone. Creating another one under a new name."
        replacing = Status(Phase.CREATING, Reason.CLUSTER_MISSING, message, database.deadline)
        return _DatabaseStep(Action.REPLACE_DATABASE, replacing)
    status = Status(
        Phase.FAILED,
        Reason.CLUSTER_MISSING,
        f"The Cluster {database.name} was deleted outside the panel, and its data with it. "
        "Retry creates a new, empty database; Delete ends the project.",
    )
    return _DatabaseStep(None, status, Requeue.FAILED)


def _wait_for_database(
    desired: Desired, database: DesiredDatabase, reason: Reason, message: str, requeue: Requeue, now: datetime
) -> _DatabaseStep:
    timeout = timedelta(seconds=desired.timeout_s)
    deadline = now + timeout if desired.is_new_intent or database.deadline is None else database.deadline
    if not is_past(deadline, now):
        return _DatabaseStep(None, Status(Phase.CREATING, reason, message, deadline), requeue)
    late = explain_deadline(desired.timeout_s, f"The database {database.name}", message)
    return _DatabaseStep(None, Status(Phase.FAILED, Reason.DEADLINE_EXCEEDED, late, deadline), Requeue.FAILED)


def _decide_credentials(
    desired: Desired, database: DesiredDatabase, observed: Observed, now: datetime
) -> _DatabaseStep:
    """The Cluster is Running: capture its credentials, and wait until a connection with them succeeds."""

    def wait(reason: Reason, message: str, requeue: Requeue) -> _DatabaseStep:
        return _wait_for_database(desired, database, reason, message, requeue, now)

    running = Status(Phase.RUNNING, Reason.READY, "The database is running and its credentials are captured.")
    creating = Status(Phase.CREATING, Reason.CLUSTER_NOT_RUNNING, "The database is running.", database.deadline)
    match observed.credentials:
        case ObservedCredentials.CHANGED:
            return _DatabaseStep(Action.CAPTURE_CREDENTIALS, creating)
        case ObservedCredentials.REPLACED:
            return _decide_replaced(desired, database, observed, now)
        case Missing() as missing:
            if database.captured_at is None:
                return wait(missing.reason, missing.message, Requeue.WATCHED)
        case ObservedCredentials.SAME:
            pass
        case _:
            assert_never(observed.credentials)
    is_known = database.is_verified and observed.verification is None
    if is_known or not desired.verifies:
        return _DatabaseStep(None, running)
    match observed.verification:
        case Verification.VERIFIED | Verification.UNREACHABLE:
            return _DatabaseStep(None, running)
        case Verification.UNANSWERED:
            if database.captured_at and now - database.captured_at >= UNANSWERED_GRACE:
                return _DatabaseStep(None, running)
            return wait(Reason.CONNECTION_REFUSED, observed.verification_note, Requeue.POLL)
        case Verification.REFUSED:
            return wait(Reason.CONNECTION_REFUSED, observed.verification_note, Requeue.POLL)
        case Verification.REJECTED:
            return wait(Reason.CREDENTIALS_REJECTED, f"{observed.verification_note} {_MEND_REJECTED}", Requeue.POLL)
        case None:
            return wait(Reason.CONNECTION_REFUSED, "The credentials are not verified yet.", Requeue.POLL)
        case _:
            assert_never(observed.verification)


def _decide_replaced(desired: Desired, database: DesiredDatabase, observed: Observed, now: datetime) -> _DatabaseStep:
    """The Secret's password replaced a proved one: it is captured once it is proved, or if a user chooses it."""
    message = explain_replaced(
        database.name, observed.verification, observed.captured_verification, observed.verification_note
    )
    waiting = Status(Phase.RUNNING, Reason.SECRET_REPLACED, message)
    match observed.verification, database.replacement_choice:
        case (Verification.VERIFIED, _):
            return _DatabaseStep(Action.CAPTURE_CREDENTIALS, waiting)
        case (_, ReplacementChoice.RESTORE):
            return _DatabaseStep(Action.RESTORE_SECRET, waiting)
        case (_, ReplacementChoice.USE):
            return _DatabaseStep(Action.USE_SECRET, waiting)
        case (Verification.REJECTED, _) if observed.captured_verification is Verification.REJECTED:
            return _wait_for_database(desired, database, Reason.CREDENTIALS_REJECTED, message, Requeue.POLL, now)
        case (Verification.REFUSED, _):
            note = observed.verification_note
            return _wait_for_database(desired, database, Reason.CONNECTION_REFUSED, note, Requeue.POLL, now)
        case _:
            return _DatabaseStep(None, waiting)


def _decide_sandbox(desired: Desired, observed: Observed, database: Status, now: datetime) -> Decision:
    """The database is usable: run the sandbox with exactly its credentials."""
    sandbox = desired.sandbox
    is_current = (
        sandbox is not None
        and sandbox.is_applied
        and sandbox.credentials is CredentialsSource.CAPTURED
        and observed.sandbox is not None
        and observed.sandbox.state not in (State.ABSENT, State.DELETING)
        and observed.sandbox.environment_digest == observed.digest
        and sandbox.environment_digest == observed.digest
    )
    if not is_current and not (observed.sandbox and observed.sandbox.state is State.DELETING):
        applying = Status(Phase.CREATING, Reason.WAITING_FOR_SANDBOX, "Applying the sandbox.")
        return Decision(Action.APPLY_SANDBOX, applying, Requeue.WATCHED, database, applying if sandbox else None)
    if desired.drift_response.reverts and any(item.is_revertible for item in observed.drift):
        reverting = Status(Phase.CREATING, Reason.DRIFTED, f"Reverting {summarize(observed.drift)}.")
        return Decision(Action.REVERT_DRIFT, reverting, Requeue.WATCHED, database, reverting)
    status, requeue = _sandbox_status(desired, observed, now)
    if status.phase is not Phase.RUNNING:
        return Decision(None, status, requeue, database, status)
    if database.reason is Reason.SECRET_REPLACED:
        return Decision(None, database, Requeue.FAILED, database, status)
    if observed.drift:
        return Decision(None, _build_drift_status(desired, observed), Requeue.SETTLED, database, status)
    project = Status(Phase.RUNNING, Reason.READY, "Database and sandbox running.")
    return Decision(None, project, Requeue.SETTLED, database, status)


def _build_drift_status(desired: Desired, observed: Observed) -> Status:
    """The project runs, but its objects differ from what was applied."""
    return Status(
        Phase.RUNNING, Reason.DRIFTED, f"Running, but changed outside the panel: {_explain_drift(desired, observed)}"
    )


def _explain_drift(desired: Desired, observed: Observed, *kinds: str) -> str:
    """Return the differences of objects of these kinds (of all without any), and why they stay; "" if there are
    none."""
    drift = [item for item in observed.drift if not kinds or item.kind in kinds]
    if not drift:
        return ""
    if desired.drift_response.is_contested:
        why = "The panel reverted this several times, and it changed again. Find out what changes it."
    elif desired.drift_response.reverts:
        why = " ".join(dict.fromkeys(item.obstacle for item in drift if item.obstacle))
    else:
        why = "The drift policy is Report only."
    return f"{summarize(drift)}. {why}".strip()


def _decide_default_sandbox(desired: Desired, observed: Observed, step: _DatabaseStep, now: datetime) -> Decision:
    """The database is late: until it is ready, the sandbox runs with the default database."""
    sandbox = desired.sandbox
    is_current = (
        sandbox is not None
        and sandbox.is_applied
        and observed.sandbox is not None
        and observed.sandbox.state is not State.ABSENT
        and observed.sandbox.environment_digest == observed.default_digest
    )
    if not is_current:
        applying = Status(Phase.CREATING, Reason.DEFAULT_CREDENTIALS, "Applying the sandbox with the default database.")
        return Decision(
            Action.APPLY_SANDBOX_WITH_DEFAULT, step.status, Requeue.FAILED, step.status, applying if sandbox else None
        )
    status, _ = _sandbox_status(desired, observed, now)
    if status.phase is not Phase.RUNNING:
        return Decision(None, replace(status, reason=Reason.DEFAULT_CREDENTIALS), Requeue.WATCHED, step.status, status)
    project = Status(
        Phase.RUNNING,
        Reason.DEFAULT_CREDENTIALS,
        f"The sandbox runs with the default database until its own is ready. {step.status.message}",
    )
    sandbox_status = replace(status, reason=Reason.DEFAULT_CREDENTIALS, message="Ready, with the default database.")
    return Decision(None, project, Requeue.FAILED, step.status, sandbox_status)


def _sandbox_status(desired: Desired, observed: Observed, now: datetime) -> tuple[Status, Requeue]:
    """Return the status of the applied sandbox: ready, not ready yet, or late."""
    if observed.sandbox is not None and observed.sandbox.state is State.READY:
        return Status(Phase.RUNNING, Reason.SANDBOX_READY, observed.sandbox.message), Requeue.SETTLED
    message = observed.sandbox.message if observed.sandbox else "The sandbox has no status yet."
    drift = _explain_drift(desired, observed, "StatefulSet", "Secret")
    reason = Reason.DRIFTED if drift else Reason.SANDBOX_NOT_READY
    cause = f"Changed outside the panel: {drift}" if drift else ""
    message = " ".join(filter(None, (message, cause, observed.sandbox_note)))
    deadline = desired.sandbox.deadline if desired.sandbox else None
    if deadline is None or desired.is_new_intent:
        deadline = now + timedelta(seconds=desired.timeout_s)
    if not is_past(deadline, now):
        return Status(Phase.CREATING, reason, message, deadline), Requeue.WATCHED
    late = explain_deadline(desired.timeout_s, "The sandbox", message)
    return Status(Phase.FAILED, Reason.DEADLINE_EXCEEDED, late, deadline), Requeue.FAILED
