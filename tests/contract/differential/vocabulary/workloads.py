"""Pods, StatefulSets and Deployments."""

from __future__ import annotations

from tests.contract.differential.vocabulary.fields import Field, Kind

CONTAINER = {"name": "main", "image": "registry.invalid/main:1"}


def pod_fields(spec: str) -> tuple[Field, ...]:
    """Fields of a Pod's spec at a path."""
    first = f"{spec}/containers/0"
    return (
        Field(
            f"{spec}/containers",
            [
                [CONTAINER],
                [CONTAINER, {"name": "side", "image": "registry.invalid/side"}],
                [{"name": "side", "image": "registry.invalid/side:latest"}, CONTAINER],
            ],
            [
                [],
                None,
                [{}],
                [CONTAINER, CONTAINER],
                [{"name": "main"}],
                [{"name": "Bad_", "image": "x:1"}],
                "x",
                [None],
            ],
        ),
        Field(f"{spec}/containers/+", [{"name": "more", "image": "registry.invalid/more:2"}], [{"image": "x:1"}]),
        Field(
            f"{first}/image",
            ["registry.invalid/main:2", "registry.invalid/main", "main@sha256:abcd"],
            ["", " x", None, 1],
        ),
        Field(f"{first}/imagePullPolicy", ["Always", "IfNotPresent", "Never", ""], ["Sometimes"]),
        Field(f"{first}/command", [["run"], ["run", "it"], []], ["run", None]),
        Field(f"{first}/args", [["a"], []], [[1]]),
        Field(f"{first}/workingDir", ["/data", ""], [1]),
        Field(
            f"{first}/env",
            [
                [{"name": "A", "value": "1"}],
                [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                [{"name": "B"}, {"name": "A", "value": "3"}],
                [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            ],
            [
                [{}],
                [{"name": ""}],
                [{"name": "A=B"}],
                [{"name": "A", "value": 1}],
                [None],
                [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                [{"name": "A", "valueFrom": {}}],
                [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.none"}}}],
            ],
        ),
        Field(f"{first}/env/0/value", ["9", "8", ""], [True]),
        Field(f"{first}/env/+", [{"name": "C", "value": "c"}], [{"value": "x"}]),
        Field(
            f"{first}/envFrom",
            [[{"secretRef": {"name": "s"}}], [{"prefix": "P_", "configMapRef": {"name": "c"}}], []],
            [[{}], [{"secretRef": {}}], [{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]],
        ),
        Field(
            f"{first}/ports",
            [
                [{"containerPort": 8080}],
                [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
                [{"containerPort": 80, "protocol": "TCP"}],
            ],
            [
                [{}],
                [{"containerPort": 0}],
                [{"containerPort": 70000}],
                [{"name": "Bad_", "containerPort": 1}],
                [{"containerPort": 1, "protocol": "X"}],
            ],
        ),
        Field(f"{first}/ports/+", [{"name": "extra", "containerPort": 9090}]),
        Field(f"{first}/ports/0/name", ["http", "web"], ["x" * 16]),
        Field(
            f"{first}/resources",
            [
                {"requests": {"cpu": "100m", "memory": "64Mi"}},
                {"limits": {"cpu": "1", "memory": "1Gi"}},
                {},
                {"limits": {"cpu": "1000m"}, "requests": {"cpu": "0.5"}},
            ],
            [
                {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
                {"limits": {"cpu": "lots"}},
                {"limits": {"widgets": "1"}},
                {"requests": {"memory": "-1"}},
                None,
            ],
        ),
        Field(f"{first}/resources/limits/memory", ["2Gi", "512Mi"], ["x"]),
        Field(f"{first}/resources/requests/memory", ["128Mi", "1Gi"]),
        Field(
            f"{first}/readinessProbe",
            [
                {"httpGet": {"port": 8080}},
                {"tcpSocket": {"port": "http"}, "periodSeconds": 5},
                {"exec": {"command": ["true"]}, "failureThreshold": 1, "initialDelaySeconds": 2},
            ],
            [
                {},
                {"exec": {}},
                {"httpGet": {"port": 0}},
                {"httpGet": {"port": 1}, "tcpSocket": {"port": 1}},
                {"tcpSocket": {"port": 1}, "periodSeconds": -1},
            ],
        ),
        Field(f"{first}/readinessProbe/httpGet", [{"port": 80, "path": "/up", "scheme": "HTTPS"}]),
        Field(f"{first}/readinessProbe/timeoutSeconds", [3, 0], [-1]),
        Field(
            f"{first}/securityContext",
            [
                {"runAsUser": 1000},
                {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                {},
            ],
            [
                {"runAsUser": -1},
                {"privileged": True, "allowPrivilegeEscalation": False},
                {"seccompProfile": {"type": "X"}},
                {"seccompProfile": {}},
            ],
        ),
        Field(f"{first}/securityContext/readOnlyRootFilesystem", [True, False]),
        Field(
            f"{first}/volumeMounts",
            [[{"name": "data", "mountPath": "/data"}], []],
            [[{"name": "none", "mountPath": "/x"}], [{}]],
        ),
        Field(
            f"{spec}/volumes",
            [
                [{"name": "data", "emptyDir": {}}],
                [{"name": "data"}],
                [{"name": "data", "secret": {"secretName": "s"}}],
                [
                    {"name": "data", "configMap": {"name": "c"}},
                    {"name": "more", "persistentVolumeClaim": {"claimName": "p"}},
                ],
                [],
            ],
            [
                [{}],
                [{"name": "Bad_", "emptyDir": {}}],
                [{"name": "data", "secret": {}}],
                [{"name": "data"}, {"name": "data"}],
                [{"name": "data", "emptyDir": {}, "configMap": {"name": "c"}}],
            ],
        ),
        Field(
            f"{spec}/volumes/+",
            [{"name": "extra", "emptyDir": {"sizeLimit": "1Gi"}}],
            [{"name": "extra", "emptyDir": {"sizeLimit": "-1"}}],
        ),
        Field(
            f"{spec}/initContainers",
            [[{"name": "init", "image": "registry.invalid/init:1"}], []],
            [[{"name": "main", "image": "x:1"}]],
        ),
        Field(f"{spec}/terminationGracePeriodSeconds", [0, 30, 60], [-1, "x"]),
        Field(
            f"{spec}/securityContext",
            [{}, {"runAsUser": 5, "fsGroup": 6}, {"runAsNonRoot": True}],
            [{"fsGroup": -1}, None],
        ),
        Field(f"{spec}/nodeSelector", [{"disk": "fast"}, {}], [{"-": "x"}]),
        Field(
            f"{spec}/tolerations",
            [[{"key": "a", "operator": "Exists"}], [{"key": "a", "value": "b", "effect": "NoSchedule"}], []],
            [
                [{"operator": "Sometimes", "key": "a"}],
                [{"key": "a", "operator": "Exists", "value": "b"}],
                [{"key": "a", "effect": "X"}],
                [{}],
            ],
        ),
        Field(f"{spec}/automountServiceAccountToken", [False, True]),
        Field(f"{spec}/enableServiceLinks", [False, True]),
        Field(f"{spec}/hostNetwork", [False], ["x"]),
        Field(f"{spec}/imagePullSecrets", [[{"name": "p"}], []], [[{"name": 1}]]),
        Field(f"{spec}/unknown", [], ["x", {}]),
    )


CONDITIONS = [
    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R", "message": "m"}
]
PODS = Kind(
    "pods",
    "v1",
    "Pod",
    {"spec": {"containers": [CONTAINER]}},
    (
        *pod_fields("spec"),
        Field("spec/restartPolicy", ["Always", "Never", "OnFailure", ""], ["Sometimes"]),
        Field("spec/dnsPolicy", ["ClusterFirst", "Default", ""], ["Sometimes", "None"]),
        Field("spec/serviceAccountName", ["default"], ["none", "Bad_"]),
        Field("spec/activeDeadlineSeconds", [60, 30], [0, -1]),
    ),
    (
        Field("status/phase", ["Running", "Pending", "Failed", "Succeeded"], [1]),
        Field("status/message", ["one", "two", ""]),
        Field("status/podIP", ["10.0.0.1"]),
        Field("status/conditions", [[{"type": "Ready", "status": "True"}], CONDITIONS, []]),
        Field("status/conditions/+", [{"type": "PodScheduled", "status": "False"}]),
    ),
)
_TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [CONTAINER]}}
_WORKLOAD = (
    Field("spec/replicas", [0, 1, 2, 3], [-1, "x", None]),
    Field(
        "spec/selector",
        [{"matchLabels": {"app": "a"}}],
        [{"matchLabels": {"app": "b"}}, {}, None, {"matchLabels": {"app": "-"}}],
    ),
    Field("spec/template/metadata/labels/more", ["1", "2"], ["-"]),
    Field("spec/template/metadata/labels/app", ["a"], ["b"]),
    Field("spec/template/metadata/annotations/note", ["1", "2"]),
    Field("spec/minReadySeconds", [0, 5], [-1]),
    Field("spec/revisionHistoryLimit", [0, 5, 10], [-1]),
    Field("spec/template", [_TEMPLATE], [{}, None, {"metadata": {"labels": {"app": "a"}}}]),
    Field("spec/template/spec/restartPolicy", ["Always", ""], ["Never"]),
    *pod_fields("spec/template/spec"),
)
_CLAIM = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
STATEFUL_SETS = Kind(
    "statefulsets",
    "apps/v1",
    "StatefulSet",
    {"spec": {"serviceName": "a", "replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": _TEMPLATE}},
    (
        *_WORKLOAD,
        Field("spec/serviceName", ["a", "b", ""], ["Bad_", None]),
        Field("spec/podManagementPolicy", ["OrderedReady", "Parallel", ""], ["Sometimes"]),
        Field(
            "spec/updateStrategy",
            [
                {"type": "OnDelete"},
                {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
                {"type": "RollingUpdate"},
            ],
            [
                {"type": "Sometimes"},
                {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
                {"rollingUpdate": {"partition": -1}},
            ],
        ),
        Field("spec/volumeClaimTemplates", [[_CLAIM], []], [[{"metadata": {"name": "data"}}], [{}]]),
        Field("spec/volumeClaimTemplates/0/spec/resources/requests/storage", ["1Gi", "2Gi"], ["x", "0"]),
        Field(
            "spec/persistentVolumeClaimRetentionPolicy",
            [{"whenDeleted": "Delete"}, {"whenScaled": "Retain"}],
            [{"whenDeleted": "X"}],
        ),
        Field("spec/ordinals", [{"start": 1}, {"start": 0}], [{"start": -1}]),
    ),
    (
        Field("status/replicas", [0, 1, 2], [-1, None]),
        Field("status/readyReplicas", [0, 1, 2], [-1]),
        Field("status/availableReplicas", [0, 1]),
        Field("status/observedGeneration", [1, 2], [-1]),
        Field("status/currentRevision", ["r1", "r2"]),
        Field("status/conditions", [CONDITIONS, []]),
    ),
    has_scale=True,
)
DEPLOYMENTS = Kind(
    "deployments",
    "apps/v1",
    "Deployment",
    {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": _TEMPLATE}},
    (
        *_WORKLOAD,
        Field(
            "spec/strategy",
            [
                {"type": "Recreate"},
                {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                {},
            ],
            [
                {"type": "Sometimes"},
                {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
                {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
                {"rollingUpdate": {"maxSurge": "x%"}},
                {"rollingUpdate": {"maxUnavailable": "200%"}},
            ],
        ),
        Field("spec/strategy/rollingUpdate/maxSurge", [1, "10%"], ["-1%", -1]),
        Field("spec/progressDeadlineSeconds", [600, 60], [-1, 1]),
        Field("spec/paused", [True, False], ["x"]),
    ),
    (
        Field("status/replicas", [0, 1, 2], [-1]),
        Field("status/readyReplicas", [0, 1, 2], [-1]),
        Field("status/availableReplicas", [0, 1, 3]),
        Field("status/updatedReplicas", [0, 1]),
        Field("status/observedGeneration", [1, 2], [-1, 0]),
        Field("status/conditions", [[{"type": "Available", "status": "True"}], []]),
    ),
    has_scale=True,
)
WORKLOAD_KINDS = (PODS, STATEFUL_SETS, DEPLOYMENTS)
