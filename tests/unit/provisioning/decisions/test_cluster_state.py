"""Clusters that are stopped, change, or are looked at by no operator, in the shapes of recorded KubeBlocks v1.0.2."""

from datetime import UTC, datetime

import pytest

from projects.domain.states import Reason
from provisioning.decisions.cluster_state import (
    explain_kept,
    explain_unattended,
    is_rolled_out,
    is_stopped,
    is_unattended,
)
from provisioning.decisions.readiness import State, judge_cluster

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
V1, LEGACY = "apps.kubeblocks.io/v1", "apps.kubeblocks.io/v1alpha1"


def cluster(
    phase="Running", *, version=V1, generation=3, observed=3, policy="Delete", status=None, component=None, **meta
):
    """A Cluster whose component's status is `status`; `component` are more fields of its spec."""
    metadata = {"name": "pg1", "namespace": "demo", "uid": "u", "generation": generation, **meta}
    spec = {"terminationPolicy": policy, "componentSpecs": [{"name": "postgresql", "replicas": 1, **(component or {})}]}
    reported = {"phase": phase, "observedGeneration": observed}
    if status is not None:
        reported["components"] = {"postgresql": status}
    return {"apiVersion": version, "kind": "Cluster", "metadata": metadata, "spec": spec, "status": reported}


UP_TO_DATE = {"phase": "Running", "observedGeneration": 3, "upToDate": True}
HANDING_ON = {"phase": "Running", "observedGeneration": 3}


@pytest.mark.parametrize("phase", ["Running", "Stopping", "Stopped", "Updating"])
def test_stop_flag_counts_whatever_the_phase(phase):
    seen = judge_cluster(cluster(phase, component={"stop": True}))
    assert (seen.state, seen.reason) == (State.STOPPED, Reason.DATABASE_STOPPED)
    assert "does not start by itself" in seen.message
    assert "kbcli cluster start pg1 -n demo" in seen.message


def test_older_operator_stops_by_replicas():
    stopped = cluster("Stopped", version=LEGACY, component={"replicas": 0})
    assert is_stopped(stopped)
    assert "it has 0 replicas" in judge_cluster(stopped).message


@pytest.mark.parametrize(
    "item",
    [
        cluster("Stopped"),
        cluster("Stopping"),
        cluster("Stopped", component={"stop": False}),
        cluster("Running", component={"stop": "true"}),
        cluster("Creating", version=LEGACY, component={"replicas": 0}),
        cluster("Stopped", version=LEGACY),
    ],
)
def test_database_that_starts_again_is_not_stopped(item):
    assert not is_stopped(item)
    assert judge_cluster(item).state is not State.STOPPED


def test_who_stopped_it_is_named():
    def entry(manager, time):
        return {"manager": manager, "time": time, "fieldsV1": {"f:spec": {"f:componentSpecs": {}}}}

    item = cluster(component={"stop": True})
    item["metadata"]["managedFields"] = [
        entry("controlpanel", "2026-11-29T10:00:00Z"),
        entry("kubectl-edit", "2026-11-29T11:00:00Z"),
        {"manager": "kubeblocks", "time": "2026-11-29T11:30:00Z", "fieldsV1": {"f:status": {}}},
    ]
    assert "last written by kubectl-edit, at 2026-11-29T11:00:00Z" in judge_cluster(item).message
    item["metadata"]["managedFields"].append(entry("kubeblocks", "2026-11-29T11:40:00Z"))
    assert "kubeblocks, probably for an OpsRequest of type Stop" in judge_cluster(item).message


@pytest.mark.parametrize(
    ("item", "is_done"),
    [
        (cluster(status=UP_TO_DATE), True),
        (cluster(status=HANDING_ON), False),
        (cluster(status={**UP_TO_DATE, "upToDate": False}), False),
        (cluster(status={"phase": "Running", "upToDate": False}), False),
        (cluster(observed=2, status=UP_TO_DATE), False),
        (cluster(version=LEGACY, status={"phase": "Running", "podsReady": True}), True),
        (cluster(status={"phase": "Running"}), True),
        (cluster(), True),
    ],
)
def test_running_is_believed_when_the_spec_is_rolled_out(item, is_done):
    assert is_rolled_out(item) is is_done
    seen = judge_cluster(item)
    assert (seen.state is State.READY) is is_done
    assert seen.is_changing is not is_done


def test_updating_database_may_serve():
    seen = judge_cluster(cluster("Updating", status=UP_TO_DATE))
    assert (seen.state, seen.is_changing) == (State.WAITING, True)
    assert not judge_cluster(cluster("Creating")).is_changing


OLD, NEW = "2026-11-29T11:59:00Z", "2026-11-29T11:59:55Z"


def untouched(created=OLD, **meta):
    return {"metadata": {"name": "pg1", "creationTimestamp": created, **meta}, "spec": {}}


@pytest.mark.parametrize(
    ("item", "is_alone"),
    [
        (untouched(), True),
        (untouched(NEW), False),
        (untouched(finalizers=["cluster.kubeblocks.io/finalizer"]), False),
        ({**untouched(), "status": {"conditions": [{"type": "ProvisioningStarted"}]}}, False),
        ({**untouched(), "status": {"phase": "Creating"}}, False),
        (untouched(created="soon"), False),
        (cluster("Running", deletionTimestamp=OLD), True),
        (cluster("Running", deletionTimestamp=NEW), False),
        (cluster("Deleting", deletionTimestamp=OLD), False),
        (cluster("Running", deletionTimestamp=OLD, policy="DoNotTerminate"), False),
    ],
)
def test_cluster_that_nobody_looks_at(item, is_alone):
    assert is_unattended(item, NOW) is is_alone


def test_missing_operator_is_explained():
    said = explain_unattended(untouched(), NOW)
    assert "in the 60 s since its creation" in said
    assert "operator is probably not running" in said
    assert "its deletion was requested" in explain_unattended(cluster(deletionTimestamp=OLD), NOW)


def test_policy_that_keeps_a_cluster_is_explained():
    kept = cluster(policy="DoNotTerminate", deletionTimestamp=OLD)
    assert '"terminationPolicy":"Delete"' in explain_kept(kept)
    assert "keeps it running" in judge_cluster(kept).message
    assert explain_kept(cluster(deletionTimestamp=OLD)) == ""
    assert explain_kept(cluster(policy="DoNotTerminate")) == ""
