"""Services, claims, quotas and limits, network policies and roles."""

from __future__ import annotations

from tests.contract.differential.vocabulary.fields import Field, Kind

CONDITION = {
    "type": "A",
    "status": "True",
    "reason": "R",
    "message": "m",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
SERVICES = Kind(
    "services",
    "v1",
    "Service",
    {"spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
    (
        Field("spec/selector/app", ["a", "b"], ["-bad", 1]),
        Field("spec/selector", [{"app": "a"}, {"x": "1", "y": "2"}, {}], [None, "x"]),
        Field(
            "spec/ports",
            [
                [{"port": 80}],
                [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
                [{"name": "http", "port": 81, "targetPort": "web"}],
            ],
            [
                [],
                None,
                [{}],
                [{"port": 0}],
                [{"port": 80}, {"port": 81}],
                [{"name": "a", "port": 80}, {"name": "a", "port": 81}],
                [{"name": "a", "port": 80}, {"name": "b", "port": 80}],
                [{"name": "Up", "port": 80}],
                [{"port": "80"}],
            ],
        ),
        Field("spec/ports/0/name", ["http", "web", ""], ["Bad_", "x" * 64]),
        Field("spec/ports/0/port", [80, 443], [0, 70000, "80", None]),
        Field("spec/ports/0/targetPort", [8080, "web", 0, ""], [70000, "Bad_", "x" * 16]),
        Field("spec/ports/0/protocol", ["TCP", "UDP", ""], ["HTTP"]),
        Field("spec/ports/0/appProtocol", ["http", "kubernetes.io/h2c"], ["a b"]),
        Field("spec/ports/+", [{"name": "more", "port": 90}, {"name": "udp", "port": 80, "protocol": "UDP"}], [{}]),
        Field("spec/type", ["ClusterIP", ""], [None]),
        Field("spec/sessionAffinity", ["None", "ClientIP", ""], ["Never"]),
        Field(
            "spec/sessionAffinityConfig",
            [{"clientIP": {"timeoutSeconds": 10}}],
            [{"clientIP": {"timeoutSeconds": 0}}, {}],
        ),
        Field("spec/internalTrafficPolicy", ["Cluster", "Local"], ["Never"]),
        Field("spec/publishNotReadyAddresses", [True, False], ["yes"]),
    ),
    (
        Field("status/loadBalancer", [{}], [{"ingress": [{"ip": "192.0.2.1"}]}, None]),
        Field("status/conditions", [[CONDITION], []]),
    ),
)
CLAIMS = Kind(
    "persistentvolumeclaims",
    "v1",
    "PersistentVolumeClaim",
    {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    (
        Field(
            "spec/accessModes",
            [["ReadWriteOnce"], ["ReadWriteOnce", "ReadOnlyMany"]],
            [[], None, ["Sometimes"], ["ReadWriteOncePod", "ReadWriteOnce"], "ReadWriteOnce"],
        ),
        Field("spec/resources/requests/storage", ["1Gi", "2Gi", "1024Mi", "500Mi"], ["0", "-1", "much", None, 5]),
        Field("spec/resources/limits/storage", ["3Gi"], ["x"]),
        Field("spec/resources/requests/cpu", [], ["1"]),
        Field("spec/storageClassName", ["fast", "slow", ""], ["Bad_", None, 1]),
        Field("spec/volumeMode", ["Filesystem", "Block", ""], ["Sometimes"]),
        Field("spec/volumeName", ["v1", ""], ["Bad_"]),
        Field("spec/selector", [{"matchLabels": {"a": "b"}}, {}], [{"matchLabels": {"-": "b"}}]),
    ),
    (
        Field("status/phase", ["Pending", "Bound", "Lost"], [1]),
        Field("status/capacity", [{"storage": "1Gi"}, {"storage": "2Gi"}], [{"storage": "x"}]),
        Field("status/capacity/storage", ["1Gi", "5Gi"]),
        Field("status/accessModes", [["ReadWriteOnce"], []]),
        Field("status/conditions", [[{**CONDITION, "lastProbeTime": CONDITION["lastTransitionTime"]}], []]),
    ),
    is_protected=True,
)
NETWORK_POLICIES = Kind(
    "networkpolicies",
    "networking.k8s.io/v1",
    "NetworkPolicy",
    {"spec": {"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"from": [{"podSelector": {}}]}]}},
    (
        Field("spec/podSelector", [{}, {"matchLabels": {"app": "b"}}], [None, {"matchLabels": {"app": "-"}}, "x"]),
        Field("spec/podSelector/matchLabels/app", ["a", "c"], [1]),
        Field(
            "spec/podSelector/matchExpressions",
            [[{"key": "a", "operator": "In", "values": ["b"]}], [{"key": "a", "operator": "Exists"}]],
            [[{"key": "a", "operator": "In"}], [{"key": "a", "operator": "Is"}], [{}]],
        ),
        Field(
            "spec/ingress",
            [
                [],
                [{}],
                [{"ports": [{"port": 80}]}],
                [{"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "UDP"}]}],
                [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
            ],
            [
                [{"from": [{}]}],
                [{"ports": [{"port": 0}]}],
                [{"ports": [{"protocol": "HTTP"}]}],
                None,
                [{"from": [{"ipBlock": {"cidr": "x"}}]}],
                [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}],
                [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}],
                [{"ports": [{"port": 80, "endPort": 70}]}],
                [{"ports": [{"endPort": 70}]}],
                [{"ports": [{"port": "web", "endPort": 70}]}],
            ],
        ),
        Field(
            "spec/egress",
            [
                [],
                [{}],
                [{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}]}],
                [{"ports": [{"port": "dns", "protocol": "UDP"}]}],
            ],
            [[{"to": [{}]}], "x"],
        ),
        Field(
            "spec/policyTypes",
            [["Ingress"], ["Ingress", "Egress"], ["Egress"], []],
            [["Sideways"], ["Ingress", "Egress", "Ingress"], None],
        ),
    ),
)
ROLES = Kind(
    "roles",
    "rbac.authorization.k8s.io/v1",
    "Role",
    {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    (
        Field(
            "rules",
            [
                [],
                [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}],
                [{"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["a"], "verbs": ["*"]}],
            ],
            [
                None,
                [{}],
                [{"verbs": ["get"]}],
                [{"apiGroups": [""], "resources": ["pods"]}],
                [{"nonResourceURLs": ["/x"], "verbs": ["get"]}],
                [None],
                "x",
            ],
        ),
        Field("rules/0/verbs", [["get"], ["get", "watch"]], [[], None]),
        Field("rules/0/apiGroups", [[""], ["", "apps"]], [[]]),
        Field("rules/0/resourceNames", [["a"], []], [["", "b"]]),
        Field("rules/+", [{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}], [{}]),
    ),
)
STORAGE_KINDS = (SERVICES, CLAIMS, NETWORK_POLICIES, ROLES)
