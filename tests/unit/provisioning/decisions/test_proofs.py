"""When a Secret's password is used, and when the captured one is proved again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from projects.domain.connection import Connection
from projects.domain.states import Origin, Phase, Reason, ReplacementChoice
from provisioning.decisions.proofs import compare_credentials, explain_replaced, is_proof_due
from provisioning.decisions.running import decide
from provisioning.decisions.types import Action, ObservedCredentials, Requeue, Verification
from tests.unit.provisioning.decisions.test_running import NOW, SANDBOX, UP, VERIFIED, desired, running

CAPTURED = Connection("db.example.com", 5432, "postgres", "postgres", "in-force-12345")
OTHER = replace(CAPTURED, password="from-the-secret")
MOVED = replace(CAPTURED, port=6000)


@pytest.mark.parametrize(
    ("found", "captured", "was_proved", "is_other_secret", "verifies", "expected"),
    [
        (CAPTURED, CAPTURED, True, False, True, ObservedCredentials.SAME),
        (OTHER, None, False, False, True, ObservedCredentials.CHANGED),
        (OTHER, CAPTURED, False, False, True, ObservedCredentials.CHANGED),
        (OTHER, CAPTURED, False, True, True, ObservedCredentials.CHANGED),
        (OTHER, CAPTURED, True, False, True, ObservedCredentials.REPLACED),
        (OTHER, CAPTURED, True, False, False, ObservedCredentials.REPLACED),
        # Nothing was ever proved: a Secret that was created again is known to be wrong more often than right.
        (OTHER, CAPTURED, False, True, False, ObservedCredentials.REPLACED),
        (OTHER, CAPTURED, False, False, False, ObservedCredentials.CHANGED),
        (MOVED, CAPTURED, True, False, False, ObservedCredentials.CHANGED),
        (replace(CAPTURED, username="admin"), CAPTURED, True, False, True, ObservedCredentials.REPLACED),
    ],
)
def test_password_that_replaced_a_proved_one_is_a_candidate(
    found, captured, was_proved, is_other_secret, verifies, expected
):
    compared = compare_credentials(
        found, captured, was_proved=was_proved, is_other_secret=is_other_secret, verifies=verifies
    )
    assert compared is expected


def replaced(verification=None, captured_verification=None, **changes):
    return running(
        ObservedCredentials.REPLACED,
        verification=verification,
        verification_note="why" if verification else "",
        captured_verification=captured_verification,
        sandbox=UP,
        **changes,
    )


def test_candidate_is_captured_once_it_is_proved():
    assert decide(desired(VERIFIED, SANDBOX), replaced(Verification.VERIFIED), NOW).action is Action.CAPTURE_CREDENTIALS


@pytest.mark.parametrize(
    "observed",
    [
        replaced(Verification.REJECTED, Verification.VERIFIED),
        replaced(Verification.UNREACHABLE, Verification.UNREACHABLE),
        replaced(Verification.UNANSWERED, Verification.UNANSWERED),
        replaced(),
    ],
    ids=["rejected", "unreachable", "unanswered", "not tried"],
)
def test_sandbox_keeps_the_proved_password(observed):
    decision = decide(desired(VERIFIED, SANDBOX), observed, NOW)
    assert decision.action is None
    assert (decision.project.phase, decision.project.reason) == (Phase.RUNNING, Reason.SECRET_REPLACED)
    assert "manage.py restore_secret" in decision.project.message
    assert decision.requeue is Requeue.FAILED


def test_proved_password_is_kept_when_neither_is_accepted():
    decision = decide(desired(VERIFIED, SANDBOX), replaced(Verification.REJECTED, Verification.REJECTED), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CREDENTIALS_REJECTED)
    assert "neither" in decision.project.message


def test_server_that_refuses_everybody_is_waited_for():
    decision = decide(desired(VERIFIED, SANDBOX), replaced(Verification.REFUSED), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.CONNECTION_REFUSED)


@pytest.mark.parametrize(
    ("choice", "action"),
    [(ReplacementChoice.RESTORE, Action.RESTORE_SECRET), (ReplacementChoice.USE, Action.USE_SECRET)],
)
def test_user_chooses_which_password_counts(choice, action):
    database = replace(VERIFIED, replacement_choice=choice)
    assert decide(desired(database, SANDBOX), replaced(), NOW).action is action
    # A choice for a Secret that is in order again has no effect.
    assert decide(desired(database, SANDBOX), running(sandbox=UP), NOW).action is None


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Verification.REJECTED, Reason.CREDENTIALS_REJECTED),
        (Verification.REFUSED, Reason.CONNECTION_REFUSED),
    ],
)
def test_failed_proof_counts_more_than_an_earlier_one(outcome, reason):
    observed = running(sandbox=UP, verification=outcome, verification_note="why")
    decision = decide(desired(VERIFIED, SANDBOX), observed, NOW)
    assert (decision.project.phase, decision.project.reason) == (Phase.WAITING, reason)


def test_message_never_recommends_a_password_that_the_server_rejects():
    said = explain_replaced("pg1", Verification.REJECTED, Verification.VERIFIED, "why")
    assert "use_secret" not in said
    assert "restore_secret" in said


DAY = 86_400


def test_proof_is_due_once_in_each_interval():
    proved_at = datetime(2026, 11, 22, tzinfo=UTC)
    due = [is_proof_due("a-uid", proved_at, proved_at + timedelta(hours=hour), DAY) for hour in range(49)]
    assert not due[0]
    assert due[24]
    assert due == sorted(due)


def test_proofs_of_many_projects_are_spread_over_the_interval():
    proved_at = datetime(2026, 11, 22, tzinfo=UTC)
    by_hour = [0] * 24
    for number in range(2400):
        hours = (h for h in range(25) if is_proof_due(f"uid-{number}", proved_at, proved_at + timedelta(hours=h), DAY))
        by_hour[next(hours) - 1] += 1
    assert min(by_hour) > 50
    assert max(by_hour) < 200


def test_no_proof_is_due_if_the_schedule_is_off():
    long_ago = NOW - timedelta(days=1000)
    assert not is_proof_due("a-uid", long_ago, NOW, 0)
    assert not is_proof_due("a-uid", None, NOW, DAY)


def test_adopted_database_keeps_its_proved_password():
    adopted = replace(VERIFIED, origin=Origin.ADOPTED)
    decision = decide(desired(adopted, SANDBOX), replaced(Verification.REJECTED, Verification.VERIFIED), NOW)
    assert (decision.action, decision.project.reason) == (None, Reason.SECRET_REPLACED)
