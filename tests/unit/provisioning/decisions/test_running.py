"""The table of decisions: (desired, observed, now) to the next action and to what people are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason
from provisioning.decisions.readiness import Readiness, State
from provisioning.decisions.running import decide
from provisioning.decisions.types import (
    Action,
    Desired,
    DesiredDatabase,
    DesiredSandbox,
    ExistingDatabase,
    Observed,
    ObservedCredentials,
    Remaining,
    Requeue,
    Verification,
)
from provisioning.objects.credentials import Missing

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
    ("made, answer lost", desired(), Observed(CREATING), Action.APPLY_CLUSTER),
    ("not up yet", desired(APPLIED), Observed(CREATING), None),
    ("labels lost", desired(APPLIED), Observed(replace(CREATING, owner=None)), Action.APPLY_CLUSTER),
    (
        "to adopt",
        desired(replace(APPLIED, origin=Origin.ADOPTED)),
        Observed(replace(RUNNING, owner=None)),
        Action.ADOPT_CLUSTER,
    ),
    ("vanished before it ran", desired(APPLIED), Observed(ABSENT), Action.REPLACE_DATABASE),
    ("no Secret", desired(APPLIED), running(MISSING), None),
    ("Secret there", desired(APPLIED), running(ObservedCredentials.CHANGED), Action.CAPTURE_CREDENTIALS),
    ("password changed", desired(VERIFIED, SANDBOX), running(ObservedCredentials.CHANGED), Action.CAPTURE_CREDENTIALS),
    ("no row", desired(None), Observed(ABSENT), Action.ENSURE_DATABASE),
    ("no row, a Cluster exists", desired(None), Observed(ABSENT, existing=EXISTING), Action.ENSURE_DATABASE),
    ("captured, not connected", desired(CAPTURED), running(), None),
    ("connected", desired(CAPTURED), running(verification=Verification.VERIFIED), Action.APPLY_SANDBOX),
    ("verified", desired(VERIFIED), running(), Action.APPLY_SANDBOX),
    ("not told to verify", desired(CAPTURED, verifies=False), running(), Action.APPLY_SANDBOX),
    ("out of reach", desired(CAPTURED), running(verification=Verification.UNREACHABLE), Action.APPLY_SANDBOX),
    ("refused", desired(CAPTURED), running(verification=Verification.REFUSED, verification_note="why"), None),
    ("rejected", desired(CAPTURED), running(verification=Verification.REJECTED, verification_note="why"), None),
    ("no answer yet", desired(CAPTURED), running(verification=Verification.UNANSWERED, verification_note="why"), None),
    ("sandbox coming", desired(VERIFIED, SANDBOX), running(sandbox=COMING), None),
    ("all up", desired(VERIFIED, SANDBOX), running(sandbox=UP), None),
    ("sandbox gone", desired(VERIFIED, SANDBOX), running(sandbox=replace(ABSENT)), Action.APPLY_SANDBOX),
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


def test_no_sandbox_before_the_credentials_are_captured_and_checked():
    for _, intent, observed, action in STEPS:
        if action in (Action.APPLY_SANDBOX, Action.APPLY_SANDBOX_WITH_DEFAULT):
            assert intent.database.captured_at
            assert observed.cluster.state is State.READY


def test_all_up_is_running_and_settled():
    decision = decide(desired(VERIFIED, SANDBOX), running(sandbox=UP), NOW)
    assert decision.project.phase is Phase.RUNNING
    assert decision.requeue is Requeue.SETTLED
    assert decision.database is not None
    assert decision.database.deadline is None


def test_a_wait_starts_its_deadline_and_keeps_it():
    first = decide(desired(replace(APPLIED, deadline=None)), Observed(CREATING), NOW)
    assert first.project.phase is Phase.WAITING
    assert first.database is not None
    assert first.database.deadline == NOW + timedelta(seconds=120)
    second = decide(desired(APPLIED), Observed(CREATING), NOW + timedelta(seconds=30))
    assert second.database is not None
    assert second.database.deadline == LATER


def test_when_the_deadline_passes_the_last_thing_seen_is_said():
    decision = decide(desired(replace(APPLIED, deadline=EARLIER)), Observed(CREATING), NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "phase Creating" in decision.project.message
    assert "Retry" in decision.project.message
    assert decision.requeue is Requeue.FAILED


def test_a_late_database_heals_by_itself():
    late = replace(APPLIED, deadline=EARLIER)
    assert decide(desired(late), running(ObservedCredentials.CHANGED), NOW).action is Action.CAPTURE_CREDENTIALS
    up = replace(VERIFIED, deadline=EARLIER)
    assert decide(desired(up, SANDBOX), running(sandbox=UP), NOW).project.phase is Phase.RUNNING


def test_retry_starts_a_new_deadline():
    decision = decide(desired(replace(APPLIED, deadline=EARLIER), is_new_intent=True), Observed(CREATING), NOW)
    assert decision.project.phase is Phase.WAITING
    assert decision.database is not None
    assert decision.database.deadline == NOW + timedelta(seconds=120)


def test_a_failed_phase_is_not_final_before_the_deadline():
    failed = replace(CREATING, state=State.FAILED, reason=Reason.CLUSTER_FAILED, message="KubeBlocks reports Failed.")
    decision = decide(desired(APPLIED), Observed(failed), NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.WAITING, Reason.CLUSTER_FAILED)


def test_a_database_with_data_that_vanished_is_replaced_only_when_asked():
    decision = decide(desired(VERIFIED, SANDBOX), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_MISSING)
    assert decide(desired(VERIFIED, SANDBOX, may_replace=True), Observed(ABSENT), NOW).action is None
    told = replace(VERIFIED, is_reported_missing=True)
    assert decide(desired(told, SANDBOX, may_replace=True), Observed(ABSENT), NOW).action is Action.REPLACE_DATABASE


@pytest.mark.parametrize("may_replace", [True, False])
def test_a_cluster_to_be_adopted_that_does_not_exist_is_not_said_to_be_lost(may_replace):
    """Nothing else is put in the place of what somebody named; what the panel found by itself it looks for anew."""
    named = DesiredDatabase("made-by-hand", Origin.ADOPTED, object_uid="uid")
    decision = decide(desired(named, is_new_intent=True, may_replace=may_replace), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.phase) == (None, Phase.FAILED)
    assert decision.project.message.startswith("The Cluster made-by-hand does not exist, so it can't be adopted.")
    assert "data" not in decision.project.message
    by_itself = decide(desired(replace(named, object_uid="")), Observed(ABSENT), NOW)
    assert by_itself.action is Action.REPLACE_DATABASE


def test_an_adoption_whose_record_was_lost_is_made_again():
    labelled = DesiredDatabase("made-by-hand", Origin.ADOPTED, object_uid="uid")
    assert decide(desired(labelled), Observed(RUNNING), NOW).action is Action.ADOPT_CLUSTER


def test_a_change_of_variables_replaces_no_database():
    decision = decide(desired(VERIFIED, SANDBOX, is_new_intent=True), Observed(ABSENT), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_MISSING)


@pytest.mark.parametrize("owner", ["stranger", None])
def test_a_strangers_cluster_is_left_alone(owner):
    stranger = replace(RUNNING, owner=owner, uid="other")
    decision = decide(desired(VERIFIED), Observed(stranger, ObservedCredentials.CHANGED), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CLUSTER_NOT_OURS)


def test_an_unanswered_connection_is_believed_out_of_reach_after_a_while():
    observed = running(verification=Verification.UNANSWERED, verification_note="why")
    assert decide(desired(CAPTURED), observed, NOW + timedelta(seconds=15)).action is Action.APPLY_SANDBOX


LATE = replace(APPLIED, deadline=EARLIER)


def test_without_the_default_database_a_late_project_has_no_sandbox():
    assert decide(desired(LATE), Observed(CREATING, default_digest=""), NOW).action is None


def test_a_late_project_may_go_ahead_with_the_default_database():
    intent = desired(LATE, is_default_available=True)
    assert decide(intent, Observed(CREATING, default_digest="d"), NOW).action is Action.APPLY_SANDBOX_WITH_DEFAULT


def test_not_before_the_database_is_late():
    assert (
        decide(desired(APPLIED, is_default_available=True), Observed(CREATING, default_digest="d"), NOW).action is None
    )


def test_default_credentials_are_called_so():
    sandbox = DesiredSandbox("s", True, CredentialsSource.DEFAULT, "d", LATER)
    observed = Observed(CREATING, default_digest="d", sandbox=replace(UP, environment_digest="d"))
    decision = decide(desired(LATE, sandbox, is_default_available=True), observed, NOW)
    assert decision.action is None
    assert decision.project.reason is Reason.DEFAULT_CREDENTIALS
    assert decision.database is not None
    assert decision.database.phase is Phase.FAILED


def test_captured_credentials_are_never_given_up_for_default_ones():
    intent = desired(LATE, SANDBOX, is_default_available=True)
    assert decide(intent, Observed(CREATING, default_digest="d", sandbox=UP), NOW).action is None


def test_a_late_sandbox_says_so():
    intent = desired(VERIFIED, replace(SANDBOX, deadline=EARLIER))
    decision = decide(intent, running(sandbox=COMING, sandbox_note="ImagePullBackOff: x"), NOW)
    assert decision.project.phase is Phase.FAILED
    assert "ImagePullBackOff" in decision.project.message


def test_nothing_is_done_for_a_project_that_was_only_registered():
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


def test_a_cluster_that_is_kept_is_released_not_deleted():
    assert deleted(KEPT).action is Action.RELEASE_CLUSTER
    assert deleted(KEPT, Remaining("StatefulSet s")).action is Action.DELETE_OBJECTS


def test_a_deletion_that_is_stuck_says_what_is_left():
    decision = deleted(GOING, deletion_deadline=EARLIER)
    assert (decision.project.phase, decision.project.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "Cluster pg1" in decision.project.message
