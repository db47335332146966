"""The readiness of Clusters and StatefulSets, by their status."""

import pytest

from projects.domain.states import Reason
from provisioning.decisions.pods import explain_pod
from provisioning.decisions.readiness import State, judge_cluster, judge_sandbox


def cluster(phase=None, *, generation=2, observed=2, conditions=(), **metadata):
    status = {"observedGeneration": observed, "conditions": list(conditions)}
    if phase is not None:
        status["phase"] = phase
    return {"metadata": {"name": "pg1", "uid": "u", "generation": generation, **metadata}, "status": status}


PRECHECK = {"type": "ProvisioningStarted", "status": "False", "reason": "PreCheckFailed", "message": "no such version"}


@pytest.mark.parametrize(
    ("item", "state", "reason"),
    [
        (None, State.ABSENT, Reason.CLUSTER_MISSING),
        ({}, State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        ({"metadata": {}, "status": {}}, State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster(""), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("Creating"), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("Updating"), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("Stopped"), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("SomethingNew"), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("Running"), State.READY, Reason.READY),
        (cluster("Running", generation=3), State.WAITING, Reason.CLUSTER_NOT_RUNNING),
        (cluster("Failed"), State.FAILED, Reason.CLUSTER_FAILED),
        (cluster("Abnormal"), State.FAILED, Reason.CLUSTER_FAILED),
        (cluster("", conditions=[PRECHECK]), State.FAILED, Reason.CLUSTER_REJECTED),
        (cluster("Running", deletionTimestamp="2026-11-22T15:00:00Z"), State.DELETING, Reason.CLUSTER_DELETING),
    ],
)
def test_state_of_a_cluster_has_a_reason(item, state, reason):
    seen = judge_cluster(item)
    assert (seen.state, seen.reason) == (state, reason)
    assert seen.message


def test_condition_ready_does_not_make_a_database_ready():
    ready = {"type": "Ready", "status": "True", "message": "fine"}
    assert judge_cluster(cluster("Creating", conditions=[ready])).state is State.WAITING


def test_message_of_a_rejected_spec_is_shown():
    other = {"type": "ApplyResources", "status": "False", "message": "later"}
    assert "no such version" in judge_cluster(cluster("", conditions=[other, PRECHECK])).message


def test_finalizers_of_a_deletion_are_shown():
    seen = judge_cluster(cluster("Deleting", deletionTimestamp="t", finalizers=["cluster.kubeblocks.io/finalizer"]))
    assert "cluster.kubeblocks.io/finalizer" in seen.message


@pytest.mark.parametrize(
    "junk", [[], "x", 3, {"metadata": 3, "status": []}, {"status": {"phase": 5, "conditions": "x"}}]
)
def test_junk_is_not_ready(junk):
    assert judge_cluster(junk if isinstance(junk, dict) else {"status": junk}).state is State.WAITING


def statefulset(*, ready, updated, generation=1, observed=1, current="a", update="a"):
    return {
        "metadata": {"name": "s", "generation": generation},
        "status": {
            "observedGeneration": observed,
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": update,
        },
    }


@pytest.mark.parametrize(
    ("item", "state"),
    [
        (None, State.ABSENT),
        ({}, State.WAITING),
        (statefulset(ready=0, updated=1), State.WAITING),
        (statefulset(ready=1, updated=1), State.READY),
        (statefulset(ready=1, updated=1, generation=2), State.WAITING),
        (statefulset(ready=1, updated=0, update="b"), State.WAITING),
        (statefulset(ready=1, updated=1, update="b"), State.READY),
    ],
)
def test_sandbox_is_judged_by_its_statefulset(item, state):
    assert judge_sandbox(item).state is state


@pytest.mark.parametrize("message", ["3 Insufficient memory", "3 Insufficient memory."])
def test_quoted_messages_end_with_one_full_stop(message):
    condition = {"type": "ReplicasReady", "status": "False", "message": message}
    judged = judge_cluster({"status": {"phase": "Failed", "conditions": [condition]}})
    assert judged.message.endswith("3 Insufficient memory.")
    waiting = {"state": {"waiting": {"reason": "CreateContainerError", "message": message}}}
    assert explain_pod({"status": {"containerStatuses": [waiting]}}) == "CreateContainerError: 3 Insufficient memory."
