"""Validation of built-in objects: all causes in order, compared with tables recorded from a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.conftest import Place
from tests.contract.objects import GONE, changed, claim, configmap, ingress, service, statefulset
from tests.support.rest import Answer, Object, Rest

JOB_SPEC = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
LEASE_SPEC = {
    "holderIdentity": "me",
    "leaseDurationSeconds": 15,
    "renewTime": "2026-01-01T00:00:00.000000Z",
}

TABLES: dict[str, tuple[str, str, Object]] = {
    "pod_template": ("apps/v1", "statefulsets", statefulset("web")),
    "statefulsets": ("apps/v1", "statefulsets", statefulset("web")),
    "services": ("v1", "services", service("web")),
    "ingresses": ("networking.k8s.io/v1", "ingresses", ingress("web")),
    "claims": ("v1", "persistentvolumeclaims", claim("d")),
    "secrets": ("v1", "secrets", {"metadata": {"name": "s"}}),
    "network_policies": (
        "networking.k8s.io/v1",
        "networkpolicies",
        {"metadata": {"name": "n"}, "spec": {"podSelector": {}}},
    ),
    "leases": ("coordination.k8s.io/v1", "leases", {"metadata": {"name": "l"}, "spec": LEASE_SPEC}),
    "jobs": ("batch/v1", "jobs", {"metadata": {"name": "j"}, "spec": JOB_SPEC}),
}

Expected = list[tuple[str, str, str]]


def _cases(part: str) -> list[Any]:
    """Return table name and case for each case of `part` (refused or accepted) in the tables."""
    found = []
    for name in TABLES:
        table = yaml.safe_load((Path(__file__).parent / "refusals" / f"{name}.yaml").read_text())
        for case in table.get(part, []):
            what = f"{case['set']}={str(case['to'])[:40]}" if "set" in case else f"no {case['remove']}"
            found.append(pytest.param(name, case, id=f"{name}: {what}"))
    return found


def _post_changed(api: Rest, place: Place, table: str, case: Object) -> Answer:
    group_version, plural, body = TABLES[table]
    body = changed(body, case["set"], case["to"]) if "set" in case else changed(body, case["remove"], GONE)
    return api.post(place.path(group_version, plural), body, dryRun="All")


def _check_causes(answer: Answer, expected: Expected) -> None:
    assert (answer.status, answer.reason) == (422, "Invalid"), answer.text[:600]
    seen = [(cause.reason, cause.field, cause.message) for cause in answer.causes]
    assert [(reason, field) for reason, field, _ in seen] == [(reason, field) for reason, field, _ in expected]
    for (_, _, message), (_, _, start) in zip(seen, expected, strict=True):
        assert message.startswith(start)
    whole = answer.message.split(" is invalid: ", 1)[1]
    pieces = list(dict.fromkeys(f"{field}: {message}" for _, field, message in seen))
    assert whole == (pieces[0] if len(pieces) == 1 else f"[{', '.join(pieces)}]")


@pytest.mark.parametrize(("table", "case"), _cases("refused"))
def test_value_is_refused(api: Rest, place: Place, table: str, case: Object) -> None:
    _check_causes(_post_changed(api, place, table, case), [tuple(cause) for cause in case["causes"]])


@pytest.mark.parametrize(("table", "case"), _cases("accepted"))
def test_value_is_accepted(api: Rest, place: Place, table: str, case: Object) -> None:
    answer = _post_changed(api, place, table, case)
    assert answer.status == 201, answer.text[:600]


INVALID = "FieldValueInvalid"


@pytest.mark.parametrize(
    ("path", "value", "causes"),
    [
        ("metadata.name", "Bad_Name", [(INVALID, "metadata.name", 'Invalid value: "Bad_Name": a lowercase RFC')]),
        ("metadata.name", "-x", [(INVALID, "metadata.name", 'Invalid value: "-x": a lowercase RFC')]),
        ("metadata.name", "a..b", [(INVALID, "metadata.name", 'Invalid value: "a..b": a lowercase RFC')]),
        ("metadata.name", "x" * 254, [(INVALID, "metadata.name", 'Invalid value: "xxxxxx')]),
        ("metadata.name", "", [("FieldValueRequired", "metadata.name", "Required value: name or generateName")]),
        ("metadata.generateName", "Bad_", [(INVALID, "metadata.generateName", 'Invalid value: "Bad_": a lowercase')]),
        ("metadata.labels", {"a": "b c"}, [(INVALID, "metadata.labels", 'Invalid value: "b c": a valid label')]),
        ("metadata.labels", {"a": "-b"}, [(INVALID, "metadata.labels", 'Invalid value: "-b": a valid label')]),
        ("metadata.labels", {"a": "x" * 64}, [(INVALID, "metadata.labels", 'Invalid value: "xxxx')]),
        ("metadata.labels", {"bad key": "x"}, [(INVALID, "metadata.labels", 'Invalid value: "bad key": name part')]),
        (
            "metadata.labels",
            {"": "x"},
            [
                (INVALID, "metadata.labels", 'Invalid value: "": name part must be non-empty'),
                (INVALID, "metadata.labels", 'Invalid value: "": name part must consist of'),
            ],
        ),
        ("metadata.labels", {"a/b/c": "x"}, [(INVALID, "metadata.labels", 'Invalid value: "a/b/c": a valid label')]),
        ("metadata.labels", {"Bad_/a": "x"}, [(INVALID, "metadata.labels", 'Invalid value: "Bad_/a": prefix part')]),
        ("metadata.labels", {"x" * 64: "x"}, [(INVALID, "metadata.labels", 'Invalid value: "xxxx')]),
        ("metadata.annotations", {"bad key": "x"}, [(INVALID, "metadata.annotations", 'Invalid value: "bad key": n')]),
        (
            "metadata.annotations",
            {"k": "x" * 262145},
            [("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes")],
        ),
        ("data", {"bad key": "x"}, [(INVALID, "data[bad key]", 'Invalid value: "bad key": a valid config key must')]),
        ("data", {"..": "x"}, [(INVALID, "data[..]", "Invalid value: \"..\": must not be '..'")]),
        ("data", {"": "x"}, [(INVALID, "data[]", 'Invalid value: "": a valid config key must consist of')]),
        ("data", {"x" * 254: "x"}, [(INVALID, f"data[{'x' * 254}]", 'Invalid value: "xxxx')]),
    ],
)
def test_metadata_or_key_is_refused(api: Rest, place: Place, path: str, value: object, causes: Expected) -> None:
    _check_causes(api.post(place.core("configmaps"), changed(configmap("a"), path, value), dryRun="All"), causes)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "x" * 253),
        ("metadata.name", "a.b"),
        ("metadata.name", "1"),
        ("metadata.labels", {"a": ""}),
        ("metadata.labels", {"a": "x" * 63}),
        ("metadata.labels", {"example.com/A_b.c": "A_b.c"}),
        ("metadata.annotations", {"UPPER.example/Key": "any text\n"}),
        ("data", {"a.B_c-9": "x"}),
        ("binaryData", {"k": "MQ=="}),
    ],
)
def test_metadata_or_key_is_accepted(api: Rest, place: Place, path: str, value: object) -> None:
    answer = api.post(place.core("configmaps"), changed(configmap("a"), path, value), dryRun="All")
    assert answer.status == 201, answer.text[:600]


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (
            "spec.replicas",
            "two",
            "json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32",
        ),
        (
            "spec.template.spec.containers.0.ports.0.containerPort",
            "80",
            "json: cannot unmarshal string into Go struct field "
            "ContainerPort.spec.template.spec.containers.ports.containerPort of type int32",
        ),
        (
            "spec.template.spec.containers.0.resources",
            {"requests": {"cpu": "abc"}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_unreadable_value_is_400(api: Rest, place: Place, path: str, value: object, complaint: str) -> None:
    answer = api.post(place.apps("statefulsets"), changed(statefulset("web"), path, value))
    message = f'StatefulSet in version "v1" cannot be handled as a StatefulSet: {complaint}'
    assert (answer.status, answer.reason, answer.message) == (400, "BadRequest", message)


def test_lease_needs_microseconds(api: Rest, place: Place) -> None:
    body = {"metadata": {"name": "l"}, "spec": {**LEASE_SPEC, "renewTime": "2026-01-01T00:00:00Z"}}
    answer = api.post(place.path("coordination.k8s.io/v1", "leases"), body)
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert 'parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00"' in answer.message


STATEFULSET_RULE = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)


class TestWhatCanNotChange:
    @pytest.mark.parametrize(
        "spec",
        [
            {"serviceName": "other"},
            {"podManagementPolicy": "Parallel"},
            {"volumeClaimTemplates": [claim("data")]},
        ],
        ids=["serviceName", "podManagementPolicy", "volumeClaimTemplates"],
    )
    def test_most_fields_of_a_statefulset_are_immutable(self, api: Rest, place: Place, spec: Object) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"))
        answer = api.merge(place.apps("statefulsets", "web"), {"spec": spec})
        _check_causes(answer, [("FieldValueForbidden", "spec", STATEFULSET_RULE)])
        assert answer.details["group"] == "apps"
        assert answer.message.startswith('StatefulSet.apps "web" is invalid: ')

    @pytest.mark.parametrize(
        "spec",
        [
            {"minReadySeconds": 3},
            {"template": {"metadata": {"annotations": {"restarted": "now"}}}},
            {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}},
            {"revisionHistoryLimit": 1},
        ],
    )
    def test_some_fields_of_a_statefulset_can_change(self, api: Rest, place: Place, spec: Object) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"))
        assert api.merge(place.apps("statefulsets", "web"), {"spec": spec}).body["metadata"]["generation"] == 2

    @pytest.mark.parametrize("address", ["10.96.9.9", "None"])
    def test_address_of_a_service_is_immutable(self, api: Rest, place: Place, address: str) -> None:
        api.create(place.core("services"), service("web"))
        answer = api.merge(place.core("services", "web"), {"spec": {"clusterIP": address}})
        message = f'Invalid value: ["{address}"]: may not change once set'
        _check_causes(answer, [(INVALID, "spec.clusterIPs[0]", message)])

    @pytest.mark.parametrize(
        "spec", [{"accessModes": ["ReadWriteMany"]}, {"resources": {"requests": {"storage": "2Gi"}}}]
    )
    def test_spec_of_an_unbound_claim_is_immutable(self, api: Rest, place: Place, spec: Object) -> None:
        api.create(place.core("persistentvolumeclaims"), claim("d"))
        answer = api.merge(place.core("persistentvolumeclaims", "d"), {"spec": spec})
        message = "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName"
        _check_causes(answer, [("FieldValueForbidden", "spec", message)])
