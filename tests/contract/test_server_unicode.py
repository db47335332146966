"""Bodies whose text is not Unicode: JSON is repaired, YAML is refused."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.support.rest import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Rest

REPLACED = "\ufffd"

# What a body has between two quotation marks, and what is stored.
NOT_UNICODE = [
    (rb"x\ud800y", "x\ufffdy"),
    (rb"x\udc00y", "x\ufffdy"),
    (rb"\ud800\ud83d\ude00", "\ufffd\U0001f600"),
    (b"x\xffy", "x\ufffdy"),
    (b"x\xe2\x82y", "x\ufffd\ufffdy"),
    (b"x\xed\xa0\x80y", "x\ufffd\ufffd\ufffdy"),
    (b"x\xc0\xafy", "x\ufffd\ufffdy"),
]


def configmap_text(value: bytes, *, key: bytes = b"k") -> bytes:
    return b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"%s":"%s"}}' % (key, value)


def apply_text(api: Rest, place: Place, body: bytes) -> Answer:
    path = place.core("configmaps", "a")
    return api.call("PATCH", path, body, content_type=APPLY_PATCH, params={"fieldManager": "contract"})


@pytest.mark.parametrize(("sent", "stored"), NOT_UNICODE)
def test_json_is_stored_with_replacement_characters(api: Rest, place: Place, sent: bytes, stored: str) -> None:
    assert api.create(place.core("configmaps"), configmap_text(sent))["data"] == {"k": stored}
    assert api.read(place.core("configmaps", "a"))["data"] == {"k": stored}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MERGE_PATCH, b'{"data":{"k":"%s"}}'),
        (STRATEGIC_PATCH, b'{"data":{"k":"%s"}}'),
        (JSON_PATCH, b'[{"op":"add","path":"/data/k","value":"%s"}]'),
    ],
)
@pytest.mark.parametrize(("sent", "stored"), NOT_UNICODE)
def test_patch_is_stored_with_replacement_characters(
    api: Rest, place: Place, content_type: str, body: bytes, sent: bytes, stored: str
) -> None:
    api.create(place.core("configmaps"), configmap_text(b"v"))
    answer = api.call("PATCH", place.core("configmaps", "a"), body % sent, content_type=content_type)
    assert answer.status == 200, answer.text
    assert answer.body["data"]["k"] == stored


@pytest.mark.parametrize("sent", [text for text, _ in NOT_UNICODE])
def test_apply_refuses_text_that_is_not_unicode(api: Rest, place: Place, sent: bytes) -> None:
    answer = apply_text(api, place, configmap_text(sent))
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert answer.message.startswith("error decoding YAML: error converting YAML to JSON: yaml: ")
    assert api.get(place.core("configmaps", "a")).status == 404


@pytest.mark.parametrize("sent", [rb"\ud83d\ude00", rb"a\/b", b"\x7f", b"\xc2\x80", b"\xef\xbf\xbf"])
def test_apply_refuses_some_json_that_is_not_yaml(api: Rest, place: Place, sent: bytes) -> None:
    """Escaped surrogate pairs are among it: an encoder that writes ASCII only can't apply an emoji."""
    assert apply_text(api, place, configmap_text(sent)).status == 400
    assert (
        api.call("POST", place.core("configmaps"), configmap_text(sent), content_type="application/yaml").status == 400
    )
    api.create(place.core("configmaps"), configmap_text(sent))


@pytest.mark.parametrize("sent", ["é😀".encode(), rb"\u00e9", rb"\u007f\u0080\u0085\uffff", b"\xc2\x85", rb"\u0000"])
def test_apply_accepts_text_that_yaml_can_have(api: Rest, place: Place, sent: bytes) -> None:
    answer = apply_text(api, place, configmap_text(sent))
    assert answer.status == 201, answer.text
    # Raw, the next-line character is a line break, which YAML folds into a space.
    assert answer.body["data"] == {"k": " " if sent == b"\xc2\x85" else _unescaped(sent)}


def _unescaped(text: bytes) -> str:
    return text.decode("unicode_escape") if text.isascii() else text.decode()


def test_plain_yaml_keeps_what_looks_like_an_escape(api: Rest, place: Place) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: x\\ud800y\n"
    assert apply_text(api, place, body).body["data"] == {"k": "x\\ud800y"}


@pytest.mark.parametrize("key", [b"a\xff", rb"a\ud800"])
def test_invalid_key_is_named_with_a_replacement_character(api: Rest, place: Place, key: bytes) -> None:
    answer = api.post(place.core("configmaps"), configmap_text(b"v", key=key))
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.causes[0].field == f"data[a{REPLACED}]"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\xff{}", "invalid character 'ÿ' looking for beginning of value"),
        (b"{\xff}", "invalid character 'ÿ' looking for beginning of object key string"),
        ('{"a":é}'.encode(), "invalid character 'Ã' looking for beginning of value"),
        (b'\xef\xbb\xbf{"kind":"ConfigMap"}', "invalid character 'ï' looking for beginning of value"),
        ('{"kind":"ConfigMap"}'.encode("utf-16"), "invalid character 'ÿ' looking for beginning of value"),
    ],
)
def test_json_with_other_bytes_outside_of_strings_is_refused(
    api: Rest, place: Place, body: bytes, complaint: str
) -> None:
    answer = api.post(place.core("configmaps"), body)
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert complaint in answer.message


@pytest.mark.parametrize(
    ("agent", "manager"),
    [("x\xffy/1.0", "x\ufffdy"), (" kubectl /1.37", "kubectl "), ("/1.0", "unknown"), ("a" * 200, "a" * 128)],
)
def test_manager_comes_from_the_user_agent(api: Rest, place: Place, agent: str, manager: str) -> None:
    answer = api.call("POST", place.core("configmaps"), configmap_text(b"v"), headers={"User-Agent": agent})
    assert [entry["manager"] for entry in answer.body["metadata"]["managedFields"]] == [manager]
