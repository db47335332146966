"""Bodies in protobuf, as kubectl sends the objects that it builds itself; the answers are JSON."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.support.rest import Answer, Rest

PROTOBUF = "application/vnd.kubernetes.protobuf"
Message = list[tuple[int, "int | str | bytes | Message"]]


def encode(message: Message) -> bytes:
    """Encode fields (number, value) in the protobuf wire format."""
    return b"".join(_field(number, value) for number, value in message)


def _field(number: int, value: int | str | bytes | Message) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (1 << 64) - 1)
    raw = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else encode(value)
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def envelope(api_version: str, kind: str, message: Message) -> bytes:
    return b"k8s\x00" + encode([(1, [(1, api_version), (2, kind)]), (2, encode(message)), (3, ""), (4, "")])


def metadata(name: str, **labels: str) -> Message:
    """Return an ObjectMeta with the empty fields that Go's encoder writes."""
    empty: Message = [(2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, 0), (8, b"")]
    pairs: Message = [(11, [(1, key), (2, value)]) for key, value in labels.items()]
    return [(1, name), *empty, *pairs]


def post(api: Rest, path: str, body: bytes, **params: str) -> Answer:
    return api.call("POST", path, body, content_type=PROTOBUF, params=params)


def test_maps_of_texts_and_bytes_are_decoded(api: Rest, place: Place) -> None:
    data: Message = [(2, [(1, "k"), (2, "v")]), (2, [(1, "empty"), (2, "")])]
    answer = post(api, place.core("configmaps"), envelope("v1", "ConfigMap", [(1, metadata("a", x="y")), *data]))
    assert answer.status == 201, answer.text
    assert answer.body["data"] == {"k": "v", "empty": ""}
    assert answer.body["metadata"]["labels"] == {"x": "y"}
    secret: Message = [(1, metadata("a")), (2, [(1, "k"), (2, b"\xff\x00")]), (3, "Opaque")]
    answer = post(api, place.core("secrets"), envelope("v1", "Secret", secret))
    assert (answer.status, answer.body["data"]) == (201, {"k": "/wA="})


def test_numbers_lists_and_inlined_structs_are_decoded(api: Rest, place: Place) -> None:
    port: Message = [(1, "http"), (2, "TCP"), (3, 80), (4, [(1, 1), (2, 0), (3, "web")]), (5, 0)]
    other: Message = [(1, "other"), (2, "TCP"), (3, 81), (4, [(1, 0), (2, 8081), (3, "")]), (5, 0)]
    spec: Message = [(1, port), (1, other), (2, [(1, "app"), (2, "a")]), (4, "ClusterIP")]
    answer = post(api, place.core("services"), envelope("v1", "Service", [(1, metadata("a")), (2, spec), (3, b"")]))
    assert answer.status == 201, answer.text
    ports = [(one["port"], one["targetPort"]) for one in answer.body["spec"]["ports"]]
    assert ports == [(80, "web"), (81, 8081)]
    volume: Message = [(1, "v"), (2, [(6, [(1, "secret-name")])])]
    quantities: Message = [(1, [(1, "memory"), (2, [(1, "1Gi")])]), (2, [(1, "cpu"), (2, [(1, "500m")])])]
    container: Message = [(1, "main"), (2, "registry.invalid/main:1"), (8, quantities), (16, 0)]
    pod: Message = [(1, metadata("a")), (2, [(1, volume), (2, container), (21, 0)])]
    answer = post(api, place.core("pods"), envelope("v1", "Pod", pod), dryRun="All")
    assert answer.status == 201, answer.text
    assert answer.body["spec"]["volumes"][0]["secret"]["secretName"] == "secret-name"
    resources = answer.body["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}
    assert answer.body["spec"]["automountServiceAccountToken"] is False


def test_pointer_to_zero_is_kept(api: Rest, place: Place) -> None:
    template: Message = [(1, [(11, [(1, "app"), (2, "a")])]), (2, [(2, [(1, "main"), (2, "x")])])]
    selector: Message = [(1, [(1, "app"), (2, "a")])]
    spec: Message = [(1, 0), (2, selector), (3, template), (5, "a"), (6, ""), (7, b""), (9, 0)]
    body = envelope("apps/v1", "StatefulSet", [(1, metadata("a")), (2, spec), (3, b"")])
    answer = post(api, place.apps("statefulsets"), body)
    assert answer.status == 201, answer.text
    assert answer.body["spec"]["replicas"] == 0
    assert answer.body["spec"]["podManagementPolicy"] == "OrderedReady"


def test_access_review_is_decoded(api: Rest) -> None:
    attributes: Message = [(1, "default"), (2, "get"), (3, ""), (4, "*"), (5, "pods"), (6, ""), (7, "")]
    body = envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", [(1, b""), (2, [(1, attributes)]), (3, b"")])
    answer = post(api, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (answer.status, answer.body["status"]["allowed"]) == (201, True), answer.text


def test_options_of_a_deletion_are_decoded(api: Rest, place: Place) -> None:
    api.create(place.core("configmaps"), {"metadata": {"name": "a"}})
    options = envelope("v1", "DeleteOptions", [(2, [(1, "another-uid")])])
    answer = api.call("DELETE", place.core("configmaps", "a"), options, content_type=PROTOBUF)
    assert (answer.status, answer.reason) == (409, "Conflict")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"k8s\x00\xff",
        b"k8s\x00\x0a\x7f",
        envelope("v1", "Nothing", []),
        envelope("v1", "ConfigMap", [(1, b"\x0a")]),
    ],
    ids=["json", "cut number", "cut text", "unknown kind", "cut object"],
)
def test_undecodable_body_is_refused(api: Rest, place: Place, body: bytes) -> None:
    answer = post(api, place.core("configmaps"), body)
    assert (answer.status, answer.reason) == (400, "BadRequest")
