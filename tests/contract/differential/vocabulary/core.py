"""Kinds of the core group that no controller cares for."""

from __future__ import annotations

from tests.contract.differential.vocabulary.fields import Field, Kind

CONFIG_MAPS = Kind(
    "configmaps",
    "v1",
    "ConfigMap",
    {"data": {"a": "1", "b": "2"}},
    (
        Field("data/a", ["1", "2", "", "ü"], [1, {}, True]),
        Field("data/b", ["1", "2"]),
        Field("data/c", ["1", "2"]),
        Field("data", [{"a": "1"}, {"c": "3"}, {}], [None, "text", [], {"a/b": "1"}, {"..": "x"}]),
        Field("binaryData/a", ["MQ==", ""], ["%%", 1, "MQ"]),
        Field("binaryData/d", ["MQ==", "Mg=="]),
        Field("immutable", [False, False, False, True], ["yes", None, 0]),
    ),
)
SECRETS = Kind(
    "secrets",
    "v1",
    "Secret",
    {"data": {"a": "MQ=="}},
    (
        Field("data/a", ["MQ==", "Mg==", ""], ["%%", 1]),
        Field("data/b", ["MQ==", "Mg=="]),
        Field("data", [{"a": "MQ=="}, {"c": "Mw=="}, {}], [None, "text", {"a/b": "MQ=="}]),
        Field("stringData/a", ["1", "2", ""], [1, None]),
        Field("stringData/c", ["x", "y"]),
        Field("stringData", [{"d": "4"}, {}], [None, []]),
        Field(
            "type",
            ["Opaque", "Opaque", "", "example.com/own", "kubernetes.io/basic-auth"],
            [
                "kubernetes.io/tls",
                "kubernetes.io/dockerconfigjson",
                "kubernetes.io/ssh-auth",
                "kubernetes.io/dockercfg",
                None,
                1,
            ],
        ),
        Field("immutable", [False, False, False, True], ["yes", None]),
    ),
)
SERVICE_ACCOUNTS = Kind(
    "serviceaccounts",
    "v1",
    "ServiceAccount",
    {},
    (
        Field("automountServiceAccountToken", [True, False], ["no", None]),
        Field("secrets", [[{"name": "s"}], [{"name": "s"}, {"name": "t"}], []], [[{"name": 1}], None, {}, [{}]]),
        Field("secrets/0/name", ["s", "u"]),
        Field("secrets/+", [{"name": "v"}]),
        Field("imagePullSecrets", [[{"name": "p"}], [{"name": "p"}, {"name": "q"}], []], [[None], "x"]),
    ),
)
RESOURCE_QUOTAS = Kind(
    "resourcequotas",
    "v1",
    "ResourceQuota",
    {"spec": {"hard": {"configmaps": "3"}}},
    (
        Field("spec/hard/configmaps", ["2", "3", "5"], ["-1", "many", None]),
        Field("spec/hard/secrets", ["1", "3"], ["x"]),
        Field("spec/hard/count~1services", ["1", "2"]),
        Field("spec/hard/pods", ["0", "1", 4]),
        Field("spec/hard/requests.storage", ["5Gi", "1500Mi", "1e9"]),
        Field("spec/hard/persistentvolumeclaims", ["1", "2"]),
    ),
)
CORE_KINDS = (CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, RESOURCE_QUOTAS)
