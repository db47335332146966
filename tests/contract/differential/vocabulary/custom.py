"""The custom resources of KubeBlocks v1.0.2, and their definitions: the full ones if KUBEBLOCKS_CRDS names them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.contract.definitions import read_definitions, regrouped
from tests.contract.differential.vocabulary.fields import Field, Kind
from tests.contract.kubeblocks import CLUSTER_V1, REDUCED
from tests.support.rest import Object

RELEASE = "v1.0.2"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definitions(source: Path | None = None) -> list[Object]:
    """Return the definitions to install, without conversion webhooks: by default those of KUBEBLOCKS_CRDS, if any."""
    directory = (source or Path(os.environ.get("KUBEBLOCKS_CRDS") or REDUCED)) / RELEASE
    return [regrouped(one, one["spec"]["group"]) for one in read_definitions(directory).values()]


_FIRST = "spec/componentSpecs/0"
_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "R",
    "message": "m",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
CLUSTERS = Kind(
    "clusters",
    "apps.kubeblocks.io/v1",
    "Cluster",
    {"spec": CLUSTER_V1},
    (
        Field("spec/terminationPolicy", ["DoNotTerminate", "Delete", "WipeOut"], ["Sometimes", "", None, 1]),
        Field("spec/clusterDef", ["postgresql", "mysql"], ["", "a..b", 1]),
        Field("spec/topology", ["replication", "standalone"], ["x" * 33, 5]),
        Field("spec/unknown", [], ["x", {"a": 1}]),
        Field(f"{_FIRST}/replicas", [1, 2, 3], [-1, "x", 20000, None]),
        Field(f"{_FIRST}/name", ["postgresql"], ["Bad_", "", "x" * 40, None]),
        Field(f"{_FIRST}/serviceVersion", ["16.4.0", "15.1.0"], ["x" * 33, 16]),
        Field(f"{_FIRST}/resources/limits/cpu", ["1", "500m", 2], ["lots", True]),
        Field(f"{_FIRST}/resources/requests/memory", ["1Gi", "512Mi"], ["x"]),
        Field(f"{_FIRST}/resources", [{}, {"limits": {"cpu": "1"}}], [None, "x", []]),
        Field(
            f"{_FIRST}/volumeClaimTemplates",
            [
                [
                    {
                        "name": "data",
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
                    }
                ],
                [],
            ],
            [[{}], [{"name": "data"}, {"name": "data"}], None, "x"],
        ),
        Field(f"{_FIRST}/volumeClaimTemplates/0/spec/resources/requests/storage", ["20Gi", "30Gi"], ["x"]),
        Field(
            "spec/componentSpecs",
            [[{"name": "postgresql", "replicas": 2}], [{"name": "a", "replicas": 1}, {"name": "b", "replicas": 0}]],
            [[{"name": "a", "replicas": 1}, {"name": "a", "replicas": 1}], [{}], None, "x", []],
        ),
        Field("spec/componentSpecs/+", [{"name": "more", "replicas": 1}], [{"name": "postgresql"}]),
        Field("spec", [], [{}, None, "x"]),
    ),
    (
        Field("status/phase", ["Creating", "Running", "Stopped"], ["Sleeping", 1, None]),
        Field("status/observedGeneration", [1, 2], ["x"]),
        Field("status/message", ["one", "two"], [5]),
        Field("status/conditions", [[_CONDITION], []], [[{"type": "Ready"}], [None], "x"]),
        Field("status/components/postgresql", [{"phase": "Running"}, {"phase": "Creating"}], [{"phase": 5}]),
    ),
    is_custom=True,
)
OPS_REQUESTS = Kind(
    "opsrequests",
    "operations.kubeblocks.io/v1alpha1",
    "OpsRequest",
    {"spec": {"clusterName": "pg1", "type": "Restart", "restart": [{"componentName": "postgresql"}]}},
    (
        Field("spec/type", ["Restart", "Stop", "Start"], ["Dance", None, 1]),
        Field("spec/clusterName", ["pg1", "pg2"], ["", 1, None]),
        Field("spec/force", [True, False], ["x"]),
        Field("spec/cancel", [True, False], [None]),
        Field("spec/ttlSecondsAfterSucceed", [10, 20], ["x"]),
        Field("spec/restart", [[{"componentName": "postgresql"}], [{"componentName": "b"}]], [[{}], None, []]),
        Field(
            "spec/verticalScaling",
            [[{"componentName": "postgresql", "requests": {"cpu": "1"}, "limits": {"cpu": "2"}}]],
            [[{"componentName": "postgresql", "requests": {"cpu": "many"}}], "x"],
        ),
        Field(
            "spec/horizontalScaling",
            [[{"componentName": "postgresql", "scaleOut": {"replicaChanges": 1}}]],
            [[{"componentName": "postgresql", "scaleOut": {"replicaChanges": -1}}]],
        ),
    ),
    (
        Field("status/phase", ["Pending", "Running", "Succeed"], ["Sleeping", 1]),
        Field("status/progress", ["1/2", "2/2"], ["x", 5]),
        Field("status/conditions", [[_CONDITION], []], [[{"type": "Ready"}]]),
    ),
    is_custom=True,
)
BACKUPS = Kind(
    "backups",
    "dataprotection.kubeblocks.io/v1alpha1",
    "Backup",
    {"spec": {"backupPolicyName": "p", "backupMethod": "pg-basebackup"}},
    (
        Field("spec/backupPolicyName", ["p", "q"], ["Bad_", "", None, 1]),
        Field("spec/backupMethod", ["pg-basebackup", "snapshot"], ["", 1]),
        Field("spec/deletionPolicy", ["Delete", "Retain"], ["Perhaps", None]),
        Field("spec/retentionPeriod", ["7d", "1h"], [5, ""]),
        Field("spec/parentBackupName", ["x"], [1]),
    ),
    (
        Field("status/phase", ["Running", "Completed", "Failed"], ["Sleeping", 1]),
        Field("status/totalSize", ["1Gi", "10"], [5]),
        Field("status/startTimestamp", ["2026-01-01T00:00:00Z"], ["yesterday"]),
    ),
    is_custom=True,
)
CUSTOM_KINDS = (CLUSTERS, OPS_REQUESTS, BACKUPS)
