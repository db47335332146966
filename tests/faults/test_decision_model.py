"""Decisions against a model of the cluster: thousands of steps of people, operators, accidents and time.

The model does what actions do to rows and objects; the decisions are the panel's own. Lost records represent workers
that died after an effect. FAULT_MODEL_EXAMPLES=1000 runs more examples.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from projects.domain.states import CredentialsSource, DesiredState, Origin, Phase, Reason
from provisioning.decisions.readiness import Readiness, State
from provisioning.decisions.running import decide
from provisioning.decisions.types import (
    CREDENTIALS_UNREAD,
    Action,
    Decision,
    Desired,
    DesiredDatabase,
    DesiredSandbox,
    Observed,
    ObservedCredentials,
    Remaining,
    Requeue,
)
from provisioning.objects.credentials import Missing
from tests.faults.bugs import BUGS, planted
from tests.faults.model_objects import Cluster, Rows, Workload

UID, STRANGER = "project", "stranger"
TIMEOUT_S = 120
MOST_STEPS = 20
# Number of passes, five seconds apart, in which everything has to settle without faults.
SETTLES_WITHIN = 60


class DecisionModel(RuleBasedStateMachine):
    """One project, its rows and its objects."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rows = Rows()
        self.clusters: dict[str, Cluster] = {}
        self.workload: Workload | None = None
        self.numbers = 0
        self.passwords: set[str] = set()
        self.last: Decision | None = None
        self.is_broken = False
        self.inherited_deadline: datetime | None = None

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # --- a pass ----------------------------------------------------------------------------------------------------

    def desired(self) -> Desired:
        rows = self.rows
        is_new = rows.observed_generation < rows.wanted_generation
        is_cancelled = rows.desired is DesiredState.REGISTERED and rows.wanted_generation > 0
        is_removed = rows.phase is Phase.DELETED or (is_cancelled and rows.phase is Phase.NEW)
        return Desired(
            uid=UID,
            state=rows.desired,
            timeout_s=TIMEOUT_S,
            is_new_intent=is_new,
            may_replace=rows.observed_generation < rows.asked_generation,
            database=rows.database,
            sandbox=rows.sandbox,
            is_cancelled=is_cancelled,
            is_ended=is_removed,
            verifies=False,
            deletion_deadline=rows.deletion_deadline,
        )

    def observed(self) -> Observed:
        rows = self.rows
        if rows.desired is not DesiredState.RUNNING:
            return Observed(self.judge(None), remaining=tuple(self.remaining()))
        if rows.database is None:
            return Observed(self.judge(None))
        cluster = self.clusters.get(rows.database.name)
        credentials: ObservedCredentials | Missing = CREDENTIALS_UNREAD
        if cluster and cluster.phase == "Running" and not cluster.is_deleting:
            if not cluster.password:
                credentials = Missing(Reason.SECRET_MISSING, "No Secret yet.")
            else:
                is_same = cluster.password == rows.password
                credentials = ObservedCredentials.SAME if is_same else ObservedCredentials.CHANGED
        return Observed(
            self.judge(cluster),
            credentials=credentials,
            sandbox=self.judge_sandbox() if rows.sandbox and rows.sandbox.is_applied else None,
            digest=f"digest of {rows.password}" if rows.password else "",
        )

    def judge(self, cluster: Cluster | None) -> Readiness:
        if cluster is None:
            return Readiness(State.ABSENT, Reason.CLUSTER_MISSING, "It does not exist.")
        if cluster.is_deleting:
            state, reason = State.DELETING, Reason.CLUSTER_DELETING
        elif cluster.phase == "Running":
            state, reason = State.READY, Reason.READY
        else:
            state, reason = State.WAITING, Reason.CLUSTER_NOT_RUNNING
        return Readiness(state, reason, f"It is {cluster.phase}.", owner=cluster.owner, uid=cluster.uid)

    def judge_sandbox(self) -> Readiness:
        if self.workload is None:
            return Readiness(State.ABSENT, Reason.SANDBOX_NOT_READY, "It does not exist.")
        state = State.READY if self.workload.is_ready else State.WAITING
        return Readiness(state, Reason.SANDBOX_NOT_READY, "It is there.", environment_digest=self.workload.digest)

    def remaining(self) -> list[Remaining]:
        origin = self.rows.database.origin if self.rows.database else Origin.CREATED
        items = [
            Remaining(f"Cluster {name}", cluster.is_deleting, cluster.was_there_before or origin is Origin.ADOPTED)
            for name, cluster in self.clusters.items()
            if cluster.owner == UID
        ]
        return items + ([Remaining("StatefulSet")] if self.workload else [])

    def run_pass(self, lost_at: int | None = None) -> None:
        """Decide, act and record until there is nothing to do. The record of step `lost_at` is lost: the worker dies
        between the effect and the record.
        """
        rows = self.rows
        self.inherited_deadline = None
        for step in range(MOST_STEPS):
            decision = decide(self.desired(), self.observed(), self.now)
            self.check(decision)
            if decision.action is None:
                self.record(decision)
                return
            before = replace(rows), self.numbers
            self.act(decision.action)
            if step == lost_at:
                self.rows = before[0]
                return
            if decision.requeue is Requeue.ONCE_MORE:
                self.record(decision)
                return
        raise AssertionError("The pass did not come to rest.")

    def check(self, decision: Decision) -> None:
        for status in (decision.project, decision.database, decision.sandbox):
            assert status is None or (status.reason and status.message.strip())
        if decision.action in (Action.FINISH_DELETION, Action.FINISH_CANCELLATION):
            assert not self.remaining(), "It is said to be gone while something is left."
        if decision.action is not None:
            return
        if decision.project.phase is Phase.RUNNING:
            assert self.workload is not None
            assert self.workload.is_ready
            assert self.workload.digest == f"digest of {self.rows.password}"
            assert self.rows.password in self.passwords
        if decision.requeue is Requeue.NEVER:
            assert decision.project.phase in (Phase.NEW, Phase.DELETED)
        if decision.project.phase in Phase.in_progress():
            assert decision.requeue in (Requeue.POLL, Requeue.WATCHED)

    def record(self, decision: Decision) -> None:
        rows = self.rows
        rows.phase, rows.reason, rows.message = (
            decision.project.phase,
            decision.project.reason,
            decision.project.message,
        )
        rows.observed_generation = rows.wanted_generation
        rows.has_run |= decision.project.phase is Phase.RUNNING
        if rows.desired is not DesiredState.RUNNING:
            rows.deletion_deadline = decision.project.deadline
        if rows.database and decision.database:
            cluster = self.clusters.get(rows.database.name)
            rows.database = replace(
                rows.database,
                deadline=decision.database.deadline,
                is_reported_missing=decision.database.reason is Reason.CLUSTER_MISSING,
                has_run=rows.database.has_run or bool(cluster and cluster.phase == "Running"),
            )
        if rows.sandbox and decision.sandbox:
            rows.sandbox = replace(rows.sandbox, deadline=decision.sandbox.deadline)

    # --- what actions do -------------------------------------------------------------------------------------------

    def add_database(self) -> None:
        """Create the row of the Cluster that has our label, or else of a new one."""
        found = [name for name, one in self.clusters.items() if one.owner == UID and not one.is_deleting]
        assert len(found) < 2
        name = found[0] if found else f"cluster-{self.number()}"
        is_before = bool(found) and self.clusters[name].was_there_before
        origin = Origin.ADOPTED if is_before else Origin.CREATED
        self.rows.database = DesiredDatabase(name, origin, deadline=self.inherited_deadline)

    def act(self, action: Action) -> None:
        rows = self.rows
        database = rows.database
        match action:
            case Action.ENSURE_DATABASE:
                assert database is None
                self.add_database()
            case Action.APPLY_CLUSTER | Action.ADOPT_CLUSTER:
                assert database is not None
                cluster = self.clusters.get(database.name)
                if cluster is None:
                    assert database.name not in rows.names, "A Cluster's name is used twice."
                    cluster = self.clusters[database.name] = Cluster(f"uid-{self.number()}", UID)
                    rows.names = (*rows.names, database.name)
                assert cluster.owner in (None, UID), "A stranger's Cluster is taken."
                cluster.owner = UID
                rows.database = replace(database, is_applied=True, object_uid=cluster.uid)
            case Action.REPLACE_DATABASE:
                assert database is not None
                assert database.name not in self.clusters, "A Cluster that exists is replaced."
                rows.database, rows.password = None, ""
                self.inherited_deadline = database.deadline
            case Action.CAPTURE_CREDENTIALS:
                assert database is not None
                rows.password = self.clusters[database.name].password or ""
                rows.database = replace(database, captured_at=self.now)
            case Action.APPLY_SANDBOX:
                assert rows.password, "A sandbox is applied without credentials."
                digest = f"digest of {rows.password}"
                if self.workload is None or self.workload.digest != digest:
                    self.workload = Workload(digest)
                deadline = self.now + timedelta(seconds=TIMEOUT_S)
                rows.sandbox = DesiredSandbox("sandbox", True, CredentialsSource.CAPTURED, digest, deadline)
            case Action.DELETE_OBJECTS:
                adopted = database is not None and database.origin is Origin.ADOPTED
                for cluster in self.clusters.values():
                    if cluster.owner == UID and not (cluster.was_there_before or adopted):
                        cluster.is_deleting = True
                self.workload = None
            case Action.RELEASE_CLUSTER:
                for cluster in self.clusters.values():
                    cluster.owner = None if cluster.owner == UID else cluster.owner
            case Action.FINISH_DELETION | Action.FINISH_CANCELLATION:
                rows.database, rows.sandbox, rows.password = None, None, ""
            case _:
                raise AssertionError(f"Nothing here asks for {action}.")

    # --- rules -----------------------------------------------------------------------------------------------------

    @rule(lost_at=st.one_of(st.none(), st.integers(0, 4)))
    def a_pass(self, lost_at: int | None) -> None:
        self.run_pass(lost_at)

    @rule(seconds=st.sampled_from([1, 5, 30, 121, 3600, -3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_operator_works(self) -> None:
        for name, cluster in list(self.clusters.items()):
            if cluster.is_deleting:
                del self.clusters[name]
            elif not cluster.password:
                cluster.password = f"password-{self.number()}"
                self.passwords.add(cluster.password)
            else:
                cluster.phase = "Running"
        if self.workload is not None:
            self.workload.is_ready = True

    def ask(self, desired: DesiredState, phase: Phase) -> None:
        rows = self.rows
        rows.desired, rows.phase, rows.reason = desired, phase, Reason.REQUESTED
        rows.wanted_generation += 1
        rows.asked_generation = rows.wanted_generation
        rows.deletion_deadline = self.now + timedelta(seconds=TIMEOUT_S)

    @rule()
    def provision_or_retry(self) -> None:
        rows = self.rows
        is_cancelling = rows.desired is DesiredState.REGISTERED and rows.phase is not Phase.NEW
        if rows.desired is DesiredState.DELETED or is_cancelling:
            self.ask(rows.desired, rows.phase if rows.phase is Phase.DELETED else Phase.DELETING)
        else:
            self.ask(DesiredState.RUNNING, Phase.WAITING)

    @rule()
    def delete(self) -> None:
        if self.rows.phase is not Phase.DELETED:
            self.ask(DesiredState.DELETED, Phase.DELETING)

    @precondition(lambda self: self.rows.desired is DesiredState.RUNNING and not self.rows.has_run)
    @rule()
    def cancel(self) -> None:
        self.ask(DesiredState.REGISTERED, Phase.DELETING)

    @precondition(lambda self: any(not one.was_there_before for one in self.clusters.values()))
    @rule(what=st.sampled_from(["gone", "going", "failed", "unlabeled", "stranger", "empty", "changed"]))
    def somebody_touches_the_cluster(self, what: str) -> None:
        name, cluster = next((n, c) for n, c in self.clusters.items() if not c.was_there_before)
        match what:
            case "gone":
                del self.clusters[name]
            case "going":
                cluster.is_deleting = True
            case "failed":
                cluster.phase = "Failed"
            case "unlabeled":
                cluster.owner = None if cluster.owner == UID else cluster.owner
            case "stranger":
                cluster.owner = STRANGER
            case "empty":
                cluster.password = ""
            case "changed":
                cluster.password = f"password-{self.number()}"
                self.passwords.add(cluster.password)

    @precondition(lambda self: any(one.owner == STRANGER for one in self.clusters.values()))
    @rule()
    def the_stranger_gives_it_back(self) -> None:
        """To the project, if that still wants it and has no other: two of them would be people's doing."""
        for cluster in self.clusters.values():
            if cluster.owner == STRANGER:
                is_wanted = self.rows.desired is DesiredState.RUNNING
                has_other = any(one.owner == UID for one in self.clusters.values())
                cluster.owner = UID if is_wanted and not has_other else None

    @rule()
    def somebody_deletes_the_sandbox(self) -> None:
        self.workload = None

    @precondition(lambda self: not self.clusters and self.rows.database is None)
    @rule()
    def there_was_a_cluster_before(self) -> None:
        name = f"before-{self.number()}"
        self.clusters[name] = Cluster(f"uid-{name}", UID, was_there_before=True)

    # --- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def at_most_one_live_cluster(self) -> None:
        assert sum(one.owner == UID and not one.is_deleting for one in self.clusters.values()) < 2

    @invariant()
    def nothing_that_was_there_before_is_deleted(self) -> None:
        assert not any(one.was_there_before and one.is_deleting for one in self.clusters.values())

    def teardown(self) -> None:
        """Without faults, everything settles and reports its state."""
        for _ in range(SETTLES_WITHIN):
            self.the_operator_works()
            self.run_pass()
            self.now += timedelta(seconds=5)
        rows = self.rows
        assert rows.observed_generation == rows.wanted_generation
        match rows.desired:
            case DesiredState.REGISTERED:
                assert rows.phase is Phase.NEW
                assert rows.database is None
                assert self.workload is None or rows.wanted_generation == 0
            case DesiredState.DELETED:
                assert rows.phase is Phase.DELETED
                assert self.workload is None
                assert not any(one.owner == UID for one in self.clusters.values())
            case DesiredState.RUNNING:
                assert rows.database is not None
                cluster = self.clusters.get(rows.database.name)
                is_ours = cluster is not None and cluster.owner == UID
                assert rows.phase is (Phase.RUNNING if is_ours else Phase.FAILED), rows


DecisionModel.TestCase.settings = settings(
    max_examples=int(os.environ.get("FAULT_MODEL_EXAMPLES", "120")),
    stateful_step_count=40,
    deadline=None,
    derandomize="FAULT_MODEL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestDecisionModel = DecisionModel.TestCase


@pytest.mark.parametrize(
    "name",
    [
        "a project is Running before its sandbox is ready",
        "an adopted Cluster is deleted with its project",
        "a project is Deleted before its objects are",
    ],
)
def test_model_notices_a_planted_bug(name: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    always = settings(DecisionModel.TestCase.settings, phases=[Phases.generate], database=None, derandomize=True)
    quick = settings(always, max_examples=300)
    with planted(bug), pytest.raises(AssertionError):
        run_state_machine_as_test(DecisionModel, settings=quick)
