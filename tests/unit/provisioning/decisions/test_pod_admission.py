"""Which Pods and volumes a namespace admits: Pod Security Standards and LimitRanges."""

import pytest

from provisioning.decisions.pod_admission import (
    BASELINE,
    RESTRICTED,
    Amounts,
    enforced_level,
    find_limit_conflicts,
    find_violations,
)
from provisioning.objects.manifests import SandboxSpec, sandbox_pod

GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
}


def container(**context):
    return {**GOOD, "containers": [{"securityContext": {**GOOD["containers"][0]["securityContext"], **context}}]}


@pytest.mark.parametrize(
    ("labels", "level"),
    [
        ({}, ""),
        ({"pod-security.kubernetes.io/enforce": "restricted"}, RESTRICTED),
        ({"pod-security.kubernetes.io/enforce": "privileged"}, ""),
        ({"pod-security.kubernetes.io/warn": "baseline"}, ""),
    ],
)
def test_only_an_enforced_level_counts(labels, level):
    assert enforced_level({"metadata": {"labels": labels}}) == level


def test_sandbox_meets_every_level():
    pod = sandbox_pod(SandboxSpec("example.org/app:1", {"app": 3000}, "1", "1Gi", "1Gi"))
    assert find_violations(pod, RESTRICTED) == find_violations(pod, BASELINE) == []


@pytest.mark.parametrize(
    ("pod", "baseline", "restricted"),
    [
        (GOOD, [], []),
        ({**GOOD, "hostNetwork": True}, ["hostNetwork"], ["hostNetwork"]),
        (
            {**GOOD, "volumes": [{"name": "v", "hostPath": {}}]},
            ["a volume of the type hostPath"],
            ["a volume of the type hostPath"],
        ),
        ({**GOOD, "volumes": [{"name": "v", "nfs": {}}]}, [], ["a volume of the type nfs"]),
        (container(privileged=True), ["a privileged container"], ["a privileged container"]),
        (
            container(capabilities={"add": ["SYS_ADMIN"], "drop": ["ALL"]}),
            ["the capabilities SYS_ADMIN"],
            ["the capabilities SYS_ADMIN", "not all capabilities are dropped"],
        ),
        (container(allowPrivilegeEscalation=None), [], ["allowPrivilegeEscalation isn't false"]),
        (container(runAsUser=0), [], ["runAsUser is 0"]),
        (container(runAsNonRoot=False), [], ["runAsNonRoot isn't true"]),
        ({**GOOD, "securityContext": {"runAsNonRoot": True}}, [], ["no seccompProfile"]),
        (
            {**GOOD, "initContainers": [{}]},
            [],
            ["allowPrivilegeEscalation isn't false", "not all capabilities are dropped"],
        ),
        ({"containers": "nonsense", "volumes": [None]}, [], []),
    ],
)
def test_violations_are_named(pod, baseline, restricted):
    assert find_violations(pod, BASELINE) == baseline
    assert find_violations(pod, RESTRICTED) == restricted
    assert find_violations(pod, "") == []


CONTAINERS = {"a sandbox": Amounts({"cpu": "50m", "memory": "64Mi"}, {"cpu": "500m", "memory": "512Mi"})}


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"type": "Container", "max": {"cpu": "2", "memory": "1Gi"}}, []),
        (
            {"type": "Container", "max": {"memory": "256Mi"}},
            ["small: a sandbox has limits.memory 512Mi, at most 256Mi"],
        ),
        ({"type": "Container", "min": {"cpu": "100m"}}, ["small: a sandbox has requests.cpu 50m, at least 100m"]),
        ({"type": "Pod", "max": {"cpu": "0.2"}}, ["small: a sandbox has limits.cpu 500m, at most 0.2"]),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}},
            ["small: a sandbox has limits.cpu of 10.0 times its request, at most 4.0"],
        ),
        (
            {"type": "PersistentVolumeClaim", "max": {"storage": "5Gi"}},
            ["small: a volume has storage 10Gi, at most 5Gi"],
        ),
        ({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}, []),
        ({"type": "Container", "default": {"cpu": "1m"}}, []),
        ({"type": "Container", "max": {"cpu": "nonsense"}, "min": []}, []),
    ],
)
def test_limit_conflicts_are_named(limit, said):
    ranges = [{"metadata": {"name": "small"}, "spec": {"limits": [limit]}}]
    assert find_limit_conflicts(ranges, CONTAINERS, {"a volume": "10Gi"}) == said
