"""The table of decisions: from (desired, observed, now) to the next action and the status."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason
from provisioning.decisions.readiness import Readiness, State
from provisioning.decisions.running import ROLL_OUT_GRACE, decide
from provisioning.decisions.types import (
    Action,
    Desired,
    DesiredDatabase,
    DesiredSandbox,
    DriftResponse,
    ExistingDatabase,
    Observed,
    ObservedCredentials,
    Remaining,
    Requeue,
    Verification,
)
from provisioning.objects.credentials import Missing
from provisioning.objects.diff import Difference

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=60), NOW - timedelta(seconds=1)
ABSENT = Readiness(State.ABSENT, Reason.CLUSTER_MISSING, "gone")
CREATING = Readiness(State.WAITING, Reason.CLUSTER_NOT_RUNNING, "phase Creating.", "Creating", "me", "uid")
RUNNING = Readiness(State.READY, Reason.READY, "up", "Running", "me", "uid")
NEW = DesiredDatabase("aaa-agentruntime-cram74", Origin.CREATED)
APPLIED = replace(NEW, is_applied=True, object_uid="uid", deadline=LATER)
CAPTURED = replace(APPLIED, has_run=True, captured_at=NOW)
VERIFIED = replace(CAPTURED, is_verified=True)
SANDBOX = DesiredSandbox("aaa-sandbox-1", True, CredentialsSource.CAPTURED, "digest", LATER)
UP = Readiness(State.READY, Reason.SANDBOX_READY, "ready", environment_digest="digest")
COMING = replace(UP, state=State.WAITING, reason=Reason.SANDBOX_NOT_READY, message="0 of 1.")


def desired(database=NEW, sandbox=None, **changes):
    return Desired("me", DesiredState.RUNNING, 120, database=database, sandbox=sandbox, **changes)


def running(credentials=ObservedCredentials.SAME, **changes):
    return Observed(RUNNING, credentials, digest="digest", **changes)


EXISTING = ExistingDatabase("made-by-hand", Origin.ADOPTED)
MISSING = Missing(Reason.SECRET_MISSING, "no Secret yet")
STEPS = [
    ("new", desired(), Observed(ABSENT), Action.APPLY_CLUSTER),
    ("created, answer lost", desired(), Observed(CREATING), Action.APPLY_CLUSTER),
    ("not running yet", desired(APPLIED), Observed(CREATING), None),
    ("labels lost", desired(APPLIED), Observed(replace(CREATING, owner=None)), Action.APPLY_CLUSTER),
    (
        "to adopt",
        desired(replace(APPLIED, origin=Origin.ADOPTED)),
        Observed(replace(RUNNING, owner=None)),
        Action.ADOPT_CLUSTER,
    ),
    ("missing before it ran", desired(APPLIED), Observed(ABSENT), Action.REPLACE_DATABASE),
    ("no Secret", desired(APPLIED), running(MISSING), None),
    ("Secret exists", desired(APPLIED), running(ObservedCredentials.CHANGED), Action.CAPTURE_CREDENTIALS),
    ("password changed", desired(VERIFIED, SANDBOX), running(ObservedCredentials.CHANGED), Action.CAPTURE_CREDENTIALS),
    ("no row", desired(None), Observed(ABSENT), Action.ENSURE_DATABASE),
    ("no row, a Cluster exists", desired(None), Observed(ABSENT, existing=EXISTING), Action.ENSURE_DATABASE),
    ("captured, not connected", desired(CAPTURED), running(), None),
    ("connected", desired(CAPTURED), running(verification=Verification.VERIFIED), Action.APPLY_SANDBOX),
    ("verified", desired(VERIFIED), running(), Action.APPLY_SANDBOX),
    ("verification disabled", desired(CAPTURED, verifies=False), running(), Action.APPLY_SANDBOX),
    ("unreachable", desired(CAPTURED), running(verification=Verification.UNREACHABLE), Action.APPLY_SANDBOX),
    ("refused", desired(CAPTURED), running(verification=Verification.REFUSED, verification_note="why"), None),
    ("rejected", desired(CAPTURED), running(verification=Verification.REJECTED, verification_note="why"), None),
    ("no answer yet", desired(CAPTURED), running(verification=Verification.UNANSWERED, verification_note="why"), None),
    ("sandbox pending", desired(VERIFIED, SANDBOX), running(sandbox=COMING), None),
    ("complete", desired(VERIFIED, SANDBOX), running(sandbox=UP), None),
    ("sandbox missing", desired(VERIFIED, SANDBOX), running(sandbox=replace(ABSENT)), Action.APPLY_SANDBOX),
    (
        "environment changed",
        desired(VERIFIED, SANDBOX),
        running(sandbox=replace(UP, environment_digest="old")),
        Action.APPLY_SANDBOX,
    ),
    (
        "default to be replaced",
        desired(VERIFIED, replace(SANDBOX, credentials=CredentialsSource.DEFAULT)),
        running(sandbox=UP),
        Action.APPLY_SANDBOX,
    ),
]


@pytest.mark.parametrize(("intent", "observed", "action"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_next_action(intent, observed, action):
    decision = decide(intent, observed, NOW)
    assert decision.action is action
    assert decision.project.message


def test_sandbox_is_applied_only_with_captured_credentials():
    for _, intent, observed, action in STEPS:
        if action in (Action.APPLY_SANDBOX, Action.APPLY_SANDBOX_WITH_DEFAULT):
            assert intent.database.captured_at
            assert observed.cluster.state is State.READY


def test_complete_project_is_running_and_settled():
    decision = decide(desired(VERIFIED, SANDBOX), running(sandbox=UP), NOW)
    assert decision.project.phase is Phase.RUNNING
    assert decision.requeue is Requeue.SETTLED
    assert decision.database is not None
    assert decision.database.deadline is None


def test_wait_keeps_its_first_deadline():
    first = decide(desired(replace(APPLIED, deadline=None)), Observed(CREATING), NOW)
    assert first.project.phase is Phase.WAITING
    assert first.database is not None
    assert first.database.deadline == NOW + timedelta(seconds=120)
    second = decide(desired(APPLIED), Observed(CREATING), NOW + timedelta(seconds=30))
    assert second.database is not None
    assert second.database.deadline == LATER


def test_late_database_is_reported_with_its_last_status():
    decision = decide(desired(replace(APPLIED, deadline=EARLIER)), Observed(CREATING), NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "phase Creating" in decision.project.message
    assert "Retry" in decision.project.message
    assert decision.requeue is Requeue.FAILED


def test_late_database_recovers():
    late = replace(APPLIED, deadline=EARLIER)
    assert decide(desired(late), running(ObservedCredentials.CHANGED), NOW).action is Action.CAPTURE_CREDENTIALS
    up = replace(VERIFIED, deadline=EARLIER)
    assert decide(desired(up, SANDBOX), running(sandbox=UP), NOW).project.phase is Phase.RUNNING


def test_retry_restarts_the_deadline():
    decision = decide(desired(replace(APPLIED, deadline=EARLIER), is_new_intent=True), Observed(CREATING), NOW)
    assert decision.project.phase is Phase.WAITING
    assert decision.database is not None
    assert decision.database.deadline == NOW + timedelta(seconds=120)


def test_failed_phase_is_not_final_before_the_deadline():
    failed = replace(CREATING, state=State.FAILED, reason=Reason.CLUSTER_FAILED, message="KubeBlocks reports Failed.")
    decision = decide(desired(APPLIED), Observed(failed), NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.WAITING, Reason.CLUSTER_FAILED)


def test_missing_database_with_data_is_replaced_only_on_request():
    decision = decide(desired(VERIFIED, SANDBOX), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_MISSING)
    assert decide(desired(VERIFIED, SANDBOX, may_replace=True), Observed(ABSENT), NOW).action is None
    told = replace(VERIFIED, is_reported_missing=True)
    assert decide(desired(told, SANDBOX, may_replace=True), Observed(ABSENT), NOW).action is Action.REPLACE_DATABASE


@pytest.mark.parametrize("may_replace", [True, False])
def test_missing_cluster_to_adopt_is_not_reported_as_lost(may_replace):
    """A Cluster that a user named is not replaced. One that the panel found is looked for again."""
    named = DesiredDatabase("made-by-hand", Origin.ADOPTED, object_uid="uid")
    decision = decide(desired(named, is_new_intent=True, may_replace=may_replace), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.phase) == (None, Phase.FAILED)
    assert decision.project.message.startswith("The Cluster made-by-hand does not exist, so it can't be adopted.")
    assert "data" not in decision.project.message
    by_itself = decide(desired(replace(named, object_uid="")), Observed(ABSENT), NOW)
    assert by_itself.action is Action.REPLACE_DATABASE


def test_adoption_without_a_record_is_repeated():
    labeled = DesiredDatabase("made-by-hand", Origin.ADOPTED, object_uid="uid")
    assert decide(desired(labeled), Observed(RUNNING), NOW).action is Action.ADOPT_CLUSTER


def test_changed_variables_replace_no_database():
    decision = decide(desired(VERIFIED, SANDBOX, is_new_intent=True), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_MISSING)


@pytest.mark.parametrize("owner", ["stranger", None])
def test_cluster_of_another_owner_is_not_touched(owner):
    stranger = replace(RUNNING, owner=owner, uid="other")
    decision = decide(desired(VERIFIED), Observed(stranger, ObservedCredentials.CHANGED), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_NOT_OURS)


def test_unanswered_connection_counts_as_unreachable_after_a_while():
    observed = running(verification=Verification.UNANSWERED, verification_note="why")
    assert decide(desired(CAPTURED), observed, NOW + timedelta(seconds=15)).action is Action.APPLY_SANDBOX


LATE = replace(APPLIED, deadline=EARLIER)


def test_late_project_without_a_default_database_has_no_sandbox():
    assert decide(desired(LATE), Observed(CREATING, default_digest=""), NOW).action is None


def test_late_project_uses_the_default_database():
    intent = desired(LATE, is_default_available=True)
    assert decide(intent, Observed(CREATING, default_digest="d"), NOW).action is Action.APPLY_SANDBOX_WITH_DEFAULT


def test_default_database_is_not_used_before_the_deadline():
    assert (
        decide(desired(APPLIED, is_default_available=True), Observed(CREATING, default_digest="d"), NOW).action is None
    )


def test_default_credentials_are_reported():
    sandbox = DesiredSandbox("s", True, CredentialsSource.DEFAULT, "d", LATER)
    observed = Observed(CREATING, default_digest="d", sandbox=replace(UP, environment_digest="d"))
    decision = decide(desired(LATE, sandbox, is_default_available=True), observed, NOW)
    assert decision.action is None
    assert decision.project.reason is Reason.DEFAULT_CREDENTIALS
    assert decision.database is not None
    assert decision.database.phase is Phase.FAILED


def test_captured_credentials_are_never_replaced_by_default_ones():
    intent = desired(LATE, SANDBOX, is_default_available=True)
    assert decide(intent, Observed(CREATING, default_digest="d", sandbox=UP), NOW).action is None


def test_late_sandbox_is_reported_with_its_cause():
    intent = desired(VERIFIED, replace(SANDBOX, deadline=EARLIER))
    decision = decide(intent, running(sandbox=COMING, sandbox_note="ImagePullBackOff: x"), NOW)
    assert decision.project.phase is Phase.FAILED
    assert "ImagePullBackOff" in decision.project.message


def test_new_project_needs_no_action():
    decision = decide(Desired("me", DesiredState.REGISTERED, 120), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.phase, decision.requeue) == (None, Phase.NEW, Requeue.NEVER)


def deleted(*remaining, **changes):
    return decide(Desired("me", DesiredState.DELETED, 120, **changes), Observed(ABSENT, remaining=remaining), NOW)


CLUSTER = Remaining("Cluster pg1")
KEPT = replace(CLUSTER, is_kept=True)
GOING = replace(CLUSTER, is_deleting=True)
DERIVED = Remaining("PersistentVolumeClaim data-pg1", is_ours=False)


def test_deletion_ends_when_nothing_is_left():
    assert deleted(CLUSTER, DERIVED).action is Action.DELETE_OBJECTS
    waiting = deleted(GOING, DERIVED)
    assert (waiting.action, waiting.project.phase) == (None, Phase.DELETING)
    assert "PersistentVolumeClaim data-pg1" in waiting.project.message
    assert deleted(DERIVED).project.phase is Phase.DELETING
    finished = deleted()
    assert (finished.action, finished.project.phase) == (Action.FINISH_DELETION, Phase.DELETED)


def test_kept_cluster_is_released_last():
    assert deleted(KEPT).action is Action.RELEASE_CLUSTER
    assert deleted(KEPT, Remaining("StatefulSet s")).action is Action.DELETE_OBJECTS


def test_late_deletion_names_what_is_left():
    decision = deleted(GOING, deletion_deadline=EARLIER)
    assert (decision.project.phase, decision.project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "Cluster pg1" in decision.project.message


@pytest.mark.parametrize(
    ("rows", "observed"),
    [
        ({"database": None}, Observed(ABSENT)),
        ({"database": NEW}, Observed(ABSENT)),
        ({"database": replace(APPLIED, origin=Origin.ADOPTED)}, Observed(replace(RUNNING, owner=None))),
        ({"database": APPLIED}, Observed(ABSENT)),
        ({"database": replace(VERIFIED, is_rotating=True)}, running()),
        ({"database": VERIFIED}, running()),
        ({"database": VERIFIED, "sandbox": SANDBOX}, running(sandbox=replace(UP, environment_digest="old"))),
    ],
)
def test_nothing_is_created_or_changed_in_a_forbidden_namespace(rows, observed):
    assert decide(desired(**rows), observed, NOW).action is not None
    decision = decide(desired(**rows, forbidden="Not allowed."), observed, NOW)
    assert decision.action is None
    assert (decision.project.phase, decision.project.reason) == (Phase.FAILED, Reason.NAMESPACE_NOT_ALLOWED)
    assert decision.project.message.startswith("Not allowed. ")


def test_running_project_of_a_forbidden_namespace_is_still_observed():
    seen = running(sandbox=UP)
    decision = decide(desired(VERIFIED, SANDBOX, forbidden="Not allowed."), seen, NOW)
    assert (decision.action, decision.project.phase) == (None, Phase.RUNNING)
    credentials = running(ObservedCredentials.CHANGED, sandbox=UP)
    assert decide(desired(VERIFIED, SANDBOX, forbidden="x"), credentials, NOW).action is Action.CAPTURE_CREDENTIALS


STOPPED = replace(RUNNING, state=State.STOPPED, reason=Reason.DATABASE_STOPPED, message="The database is stopped.")
CHANGING = replace(CREATING, phase="Updating", message="KubeBlocks is changing it.", is_changing=True)


@pytest.mark.parametrize(
    "database", [APPLIED, replace(VERIFIED, deadline=EARLIER), replace(APPLIED, origin=Origin.ADOPTED)]
)
def test_stopped_database_waits_for_a_person_without_a_deadline(database):
    decision = decide(desired(database, SANDBOX), Observed(STOPPED, sandbox=UP), NOW)
    assert (decision.action, decision.project.phase) == (None, Phase.FAILED)
    assert (decision.project.reason, decision.project.message) == (Reason.DATABASE_STOPPED, "The database is stopped.")
    assert decision.database is not None
    assert decision.database.deadline is None


def test_stopped_cluster_is_adopted_first():
    adopting = replace(NEW, origin=Origin.ADOPTED)
    assert decide(desired(adopting), Observed(replace(STOPPED, owner=None)), NOW).action is Action.ADOPT_CLUSTER


def test_database_that_serves_while_it_grows_stays_running():
    served = Observed(CHANGING, digest="digest", sandbox=UP, serves=True)
    decision = decide(desired(VERIFIED, SANDBOX), served, NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.RUNNING, Reason.READY)
    assert decision.database is not None
    assert "The database serves." in decision.database.message
    assert decision.requeue is Requeue.WATCHED
    refusing = decide(desired(VERIFIED, SANDBOX), replace(served, serves=False), NOW)
    assert (refusing.project.phase, refusing.project.reason) == (Phase.WAITING, Reason.CLUSTER_NOT_RUNNING)


def test_running_without_a_sign_of_the_roll_out_is_believed_after_a_while():
    handing_on = replace(CHANGING, phase="Running", generation=2, observed_generation=2)
    waited = replace(VERIFIED, deadline=NOW + timedelta(seconds=120) - ROLL_OUT_GRACE)
    seen = Observed(handing_on, ObservedCredentials.SAME, digest="digest", sandbox=UP)
    assert decide(desired(waited, SANDBOX), seen, NOW).project.phase is Phase.WAITING
    assert decide(desired(waited, SANDBOX), seen, NOW + timedelta(seconds=1)).project.phase is Phase.RUNNING
    behind = replace(seen, cluster=replace(handing_on, observed_generation=1))
    assert decide(desired(waited, SANDBOX), behind, NOW + timedelta(seconds=1)).project.phase is Phase.WAITING


def test_deletion_that_something_holds_up_says_what():
    held = Remaining("Cluster pg1", is_deleting=True, obstacle="Its terminationPolicy keeps it.")
    removing = Desired("me", DesiredState.DELETED, 120, deletion_deadline=LATER)
    decision = decide(removing, Observed(ABSENT, remaining=(held,)), NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.DELETING, Reason.DELETION_BLOCKED)
    assert decision.project.message == "Its terminationPolicy keeps it. Still to be deleted: Cluster pg1."
    late = decide(replace(removing, deletion_deadline=EARLIER), Observed(ABSENT, remaining=(held,)), NOW)
    assert "Its terminationPolicy keeps it." in late.project.message
    assert "Probably a finalizer" not in late.project.message


SCALED = Difference("StatefulSet", "aaa-sandbox-1", "spec.replicas", "1", "0")
NO_REPLICAS = Difference("Cluster", "aaa", "spec.componentSpecs[postgresql].replicas", "1", "0", obstacle="Sent once.")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (DriftResponse(reverts=False), "The drift policy is Report only."),
        (DriftResponse(reverts=False, is_contested=True), "reverted this several times"),
    ],
)
def test_drift_is_named_where_it_keeps_the_sandbox_from_being_ready(response, why):
    seen = running(sandbox=COMING, sandbox_note="There is no Pod yet.", drift=(SCALED,))
    decision = decide(desired(VERIFIED, SANDBOX, drift_response=response), seen, NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.CREATING, Reason.DRIFTED)
    assert "spec.replicas: applied 1, now 0" in decision.project.message
    assert why in decision.project.message
    late = decide(desired(VERIFIED, replace(SANDBOX, deadline=EARLIER), drift_response=response), seen, NOW)
    assert (late.project.phase, late.project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "spec.replicas: applied 1, now 0" in late.project.message


def test_drift_of_another_object_is_not_the_cause():
    seen = running(sandbox=COMING, drift=(NO_REPLICAS,))
    decision = decide(desired(VERIFIED, SANDBOX), seen, NOW)
    assert (decision.project.reason, decision.project.message) == (Reason.SANDBOX_NOT_READY, "0 of 1.")


def test_drift_of_the_cluster_is_named_where_the_database_does_not_run():
    seen = Observed(CREATING, sandbox=UP, drift=(NO_REPLICAS,))
    decision = decide(desired(VERIFIED, SANDBOX), seen, NOW)
    assert "componentSpecs[postgresql].replicas: applied 1, now 0. Sent once." in decision.project.message
