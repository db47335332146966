"""Why Pods are not ready: what their status, volume claims and events say."""

from datetime import UTC, datetime, timedelta

import pytest

from provisioning.decisions.pods import (
    explain_claim,
    explain_deletion_events,
    explain_missing_role,
    explain_pod,
    find_culprit,
    find_unbound_claim,
    latest_warning,
)

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
READY = {"type": "Ready", "status": "True"}
NOT_READY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready containers"}


def pod(name="web-0", *, conditions=(NOT_READY,), containers=(), init=(), labels=None, gates=(), **status):
    metadata = {"name": name, "labels": labels or {}}
    metadata |= {key: status.pop(key) for key in ("deletionTimestamp", "finalizers") if key in status}
    return {
        "metadata": metadata,
        "spec": {"nodeName": "node-1", "readinessGates": list(gates)},
        "status": {
            "conditions": list(conditions),
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def container(state, name="sandbox", *, ready=False, last=None, **more):
    return {"name": name, "ready": ready, "state": state, "lastState": {"terminated": last} if last else {}, **more}


def waiting(reason, message="", **more):
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def ended(code, reason="Error", message=""):
    return {"exitCode": code, "reason": reason, "message": message}


RUNNING = {"running": {"startedAt": "2026-11-29T11:00:00Z"}}
OOM = ended(137, "OOMKilled")
STOPPED = container({"terminated": ended(137)})
UP = container(RUNNING, ready=True)


def scheduled(message, reason="Unschedulable"):
    return {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}


def unready(status="False", **more):
    return {"type": "Ready", "status": status, **more}


CASES = {
    "image": (pod(containers=[waiting("ImagePullBackOff", "no such image")]), "ImagePullBackOff: no such image. Check"),
    "image name": (pod(containers=[waiting("InvalidImageName", "bad")]), "credentials of its registry"),
    "configuration": (
        pod(containers=[waiting("CreateContainerConfigError", 'secret "env" not found')]),
        'CreateContainerConfigError: secret "env" not found. Create',
    ),
    "out of memory": (
        pod(containers=[waiting("CrashLoopBackOff", "back-off 10s", last=OOM)]),
        "keeps ending (CrashLoopBackOff). Last end: OOMKilled (exit code 137). Its memory limit",
    ),
    "out of memory, running again": (
        pod(containers=[container(RUNNING, last=OOM, restartCount=3)]),
        "runs after 3 restarts, but is not ready. Last end: OOMKilled",
    ),
    "command not found": (
        pod(containers=[waiting("CrashLoopBackOff", last=ended(127))]),
        "Error (exit code 127): the command was not found",
    ),
    "crash without a last state": (pod(containers=[waiting("CrashLoopBackOff", "back-off")]), "CrashLoopBackOff: back"),
    "ended": (
        pod(containers=[container({"terminated": ended(0, "Completed")})]),
        "The container sandbox has ended. Last end: Completed (exit code 0)",
    ),
    "not ready": (pod(containers=[container(RUNNING)]), "The container sandbox runs, but is not ready."),
    "init waits": (
        pod(containers=[waiting("PodInitializing")], init=[waiting("ErrImagePull", "denied", name="init")]),
        "init container init: ErrImagePull: denied",
    ),
    "init fails": (
        pod(
            containers=[waiting("PodInitializing")],
            init=[waiting("CrashLoopBackOff", name="init", last=ended(1, message="no database"))],
        ),
        "init container init keeps ending (CrashLoopBackOff). Last end: Error (exit code 1): no database",
    ),
    "init runs": (
        pod(containers=[waiting("PodInitializing")], init=[container(RUNNING, "init", started=False)]),
        "The init container init is still running.",
    ),
    "sidecar runs": (
        pod(
            containers=[waiting("ErrImagePull", "denied")],
            init=[container(RUNNING, "proxy", started=True), container({"terminated": ended(0)}, "init", ready=True)],
        ),
        "ErrImagePull: denied",
    ),
    "the worst container is named": (
        pod(containers=[container(RUNNING, "app"), waiting("ErrImagePull", "denied", name="side")]),
        "ErrImagePull: denied",
    ),
    "unschedulable": (
        pod(conditions=[scheduled("0/3 nodes are available: 3 Insufficient memory.")]),
        "Unschedulable: 0/3 nodes are available: 3 Insufficient memory. Add a node",
    ),
    "gated": (pod(conditions=[scheduled("gates: a", "SchedulingGated")]), "Remove the Pod's scheduling gate"),
    "evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.", containers=[STOPPED]),
        "Evicted: The node was low on resource: memory. The node ran out",
    ),
    "preempted": (pod(phase="Failed", reason="Preempting", message="for another"), "Preempting: for another."),
    "node shut down": (pod(phase="Failed", reason="Terminated", message="node shutdown"), "Terminated: node shutdown."),
    "node lost, by reason": (pod(reason="NodeLost", containers=[UP]), "The node node-1 no longer reports"),
    "node lost, by phase": (pod(phase="Unknown"), "The node node-1 no longer reports"),
    "node lost, by contradiction": (
        pod(containers=[UP], conditions=[unready()]),
        "The node node-1 no longer reports",
    ),
    "node lost, by the node controller": (
        pod(containers=[UP], conditions=[unready("Unknown")]),
        "The node node-1 no longer reports",
    ),
    "being replaced": (pod(deletionTimestamp="2026-11-29T12:00:10Z"), "is created again when it is gone"),
    "stuck terminating": (
        pod(deletionTimestamp="2026-11-29T11:00:00Z", containers=[UP], conditions=[READY]),
        "should have been gone since 2026-11-29T11:00:00Z",
    ),
    "held by a finalizer": (
        pod(deletionTimestamp="2026-11-29T11:00:00Z", finalizers=["example.com/hold"]),
        "finalizers hold it: example.com/hold",
    ),
    "readiness gate": (
        pod(
            containers=[UP],
            gates=[{"conditionType": "example.com/lb"}],
            conditions=[unready(reason="ReadinessGatesNotReady", message="not lb")],
        ),
        "ReadinessGatesNotReady: not lb.",
    ),
    "disrupted": (
        pod(conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "Preemption", "message": "p"}]),
        "Preemption: p.",
    ),
    "no network": (
        pod(
            containers=[waiting("ContainerCreating")],
            conditions=[{"type": "PodReadyToStartContainers", "status": "False", "reason": "Cni", "message": "no CNI"}],
        ),
        "Cni: no CNI.",
    ),
}


@pytest.mark.parametrize(("item", "said"), CASES.values(), ids=CASES)
def test_pod_is_explained(item, said):
    assert said in explain_pod(item, NOW)


@pytest.mark.parametrize(
    "item",
    [None, {}, pod(conditions=[]), pod(containers=[waiting("ContainerCreating")])],
    ids=["none", "empty", "new", "starting"],
)
def test_pod_on_its_way_is_not_explained(item):
    assert explain_pod(item, NOW) == ""


def test_culprit_is_the_pod_with_an_explanation():
    ready, silent = pod("web-0", conditions=[READY]), pod("web-1")
    telling = pod("web-2", containers=[waiting("ErrImagePull", "denied")])
    found = find_culprit([ready, silent, telling], NOW)
    assert (found.name, found.why[:12]) == ("web-2", "ErrImagePull")
    assert find_culprit([ready, silent], NOW).name == "web-1"
    assert find_culprit([ready], NOW).name == ""


def test_pod_that_waits_for_its_volume_points_to_the_claim():
    item = pod(conditions=[scheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")])
    assert find_culprit([item], NOW).waits_for_volume
    assert "Add a node" not in explain_pod(item, NOW)


def claim(phase="Pending", **spec):
    return {"metadata": {"name": "data-web-0"}, "spec": spec, "status": {"phase": phase}}


def test_unbound_claim_names_its_class():
    assert find_unbound_claim([claim("Bound"), claim()]) == claim()
    assert find_unbound_claim([claim("Bound")]) is None
    warning = 'Latest warning: ProvisioningFailed: storageclass "fast" not found.'
    assert explain_claim(claim(storageClassName="fast"), warning).endswith(f"(StorageClass fast). {warning}")
    assert "no default one" in explain_claim(claim(), "")
    assert "provisioner runs" in explain_claim(claim(storageClassName="fast"), "")
    assert "is gone" in explain_claim(claim("Lost"), "")


def test_ready_pod_without_a_role_is_explained():
    item = pod("pg-0", conditions=[READY])
    assert "kubectl logs pg-0 -c kbagent" in explain_missing_role([item])
    assert explain_missing_role([pod(conditions=[READY], labels={"kubeblocks.io/role": "primary"})]) == ""
    assert explain_missing_role([pod()]) == ""
    assert explain_missing_role([]) == ""


def event(message, *, seconds=0, kind="Warning", reason="FailedCreate", key="lastTimestamp"):
    at = (NOW + timedelta(seconds=seconds)).isoformat()
    return {"type": kind, "reason": reason, "message": message, **({key: at} if key else {})}


FORBIDDEN = 'create Pod web-0 in StatefulSet web failed error: pods "web-0" is forbidden: '


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0", "Raise the quota"),
        ('violates PodSecurity "restricted:latest": runAsNonRoot', "pod-security.kubernetes.io/enforce"),
        ("maximum cpu usage per Container is 100m, but limit is 1", "LimitRange"),
        ('error looking up service account default/x: serviceaccount "x" not found', "admission check"),
    ],
)
def test_event_of_a_refused_pod_has_its_remedy(why, remedy):
    said = latest_warning([event(FORBIDDEN + why)])
    assert said.startswith("Latest warning at 12:00:00 UTC: FailedCreate: create Pod web-0")
    assert remedy in said


def test_event_of_a_denying_webhook_names_it():
    said = latest_warning([event('create Pod failed error: admission webhook "a.example.com" denied the request: no')])
    assert "admission webhook a.example.com does not allow it" in said


def test_latest_warning_counts():
    older, newer = event("older"), event("newer", seconds=5, key="eventTime")
    normal, timeless = event("normal", seconds=9, kind="Normal"), event("timeless", key="")
    assert "newer" in latest_warning([newer, older, normal, timeless])
    assert latest_warning([normal]) == ""
    assert latest_warning([timeless]) == "Latest warning: FailedCreate: timeless."


def test_removed_addon_holds_a_deletion_up():
    said = "the referenced ClusterDefinition is not up to date: postgresql"
    before, after = event(said, seconds=-60, reason="Old"), event(said, seconds=5, reason="New")
    assert "install the addon again" in explain_deletion_events([before, after], NOW)
    assert explain_deletion_events([before], NOW) == ""
    assert "install the addon" not in explain_deletion_events([event("another thing")], NOW)
