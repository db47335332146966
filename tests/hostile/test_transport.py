"""Hostile answers from an API server's address: they are read up to a limit, and the error explains them."""

import gzip
import itertools
import json
import time
from contextlib import suppress

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from provisioning.kube.client import _watch_event, connect
from provisioning.kube.errors import KubeError, RefusedError, build_refusal
from provisioning.kube.kinds import cluster_kind
from provisioning.kube.responses import (
    LONGEST_ANSWER,
    LONGEST_EVENT,
    NonsenseError,
    check_named,
    items_of,
    parse,
    read_lines,
    read_retry_after,
)
from provisioning.objects.refusals import Cause
from tests.hostile import answers
from tests.hostile.server import http, http_json
from tests.hostile.strategies import MEGABYTE, examples, json_values, texts

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LISTS = cluster_kind("apps.kubeblocks.io/v1")


def endless(part: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n"):
    """An answer that never ends, sent as fast as it is read."""
    return itertools.chain([head], itertools.repeat(part))


def drip(part: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n\r\n"):
    """An answer that sends each byte just before the read timeout."""
    yield head
    for _ in range(200):
        time.sleep(0.05)
        yield part


def trouble(call) -> str:
    """Return the text of the KubeError that a call raises within seconds."""
    began_s = time.monotonic()
    with pytest.raises(KubeError) as caught:
        call()
    assert time.monotonic() - began_s < 8
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 1000
    assert "canary-token" not in said
    return said


def get():
    return connect().get_or_none(LISTS, "default", "web")


def list_all():
    return connect().list_objects(LISTS, "default")


def watch_all(timeout_s: int = 1):
    watched = connect().watch(LISTS, "default", labels="", resource_version="1", timeout_s=timeout_s)
    return list(watched)


NOT_JSON = {
    "empty": b"",
    "html": b"<html><body>It works!</body></html>",
    "half": b'{"kind": "Cluster", "metadata": {"na',
    "not-utf-8": b'{"kind": "\xff\xfe\xfa"}',
    "deep-lists": b"[" * 200_000,
    "deep-objects": b'{"a":' * 100_000,
    "number-of-a-million-digits": b"9" * 1_000_000,
    "binary": bytes(range(256)) * 100,
    "null": b"null",
    "list": b"[]",
    "text": b'"metadata"',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("call", [get, list_all])
def test_answer_without_an_object_is_an_error(hostile, body, call):
    hostile.respond = lambda *_: http(body)
    assert "that is not" in trouble(call)


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_refusal_may_have_any_body(hostile, body):
    hostile.respond = lambda *_: http(body, 503)
    assert "answered 503" in trouble(get)


RAW = {
    "hangs-up": b"",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "status-of-letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "status-0": b"HTTP/1.1 000 Nothing\r\n\r\n",
    "endless-header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
    "too-many-headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 500 + b"\r\n",
    "negative-length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "shorter-than-said": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
    "chunk-of-letters": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "negative-chunk": CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
    "huge-chunk": CHUNKED + b"ffffffffffffffff\r\n{}",
    "no-last-chunk": CHUNKED + b"2\r\n{}\r\n",
    "not-gzip": http(b"not gzip", headers="Content-Encoding: gzip\r\n"),
    "redirect": http(b"{}", 302, "Location: http://127.0.0.1:1/\r\n"),
    "redirect-to-itself": http(b"{}", 307, "Location: /\r\n"),
    "not-modified": http(b"", 304),
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
@pytest.mark.parametrize("call", [get, watch_all])
def test_broken_http_is_explained(hostile, raw, call):
    hostile.respond = lambda *_: raw
    assert trouble(call)


def test_endless_answer_is_read_up_to_a_limit(hostile, settings):
    settings.KUBE_REQUEST_TIMEOUT_S = 5
    hostile.respond = lambda *_: endless(b" " * 1024 * 1024)
    assert f"more than {LONGEST_ANSWER // 1024 // 1024} MiB" in trouble(get)


def test_slow_answer_times_out(hostile):
    hostile.respond = lambda *_: drip(b" ")
    assert "did not finish its answer within 0.5 s" in trouble(get)


def test_compressed_answer_is_unpacked_up_to_a_limit(hostile, settings):
    settings.KUBE_REQUEST_TIMEOUT_S = 5
    bomb = gzip.compress(b" " * (LONGEST_ANSWER + 10_000_000), compresslevel=1)
    hostile.respond = lambda *_: http(bomb, headers="Content-Encoding: gzip\r\n")
    assert "more than 64 MiB" in trouble(get)


def test_endless_refusal_is_read_up_to_a_limit(hostile):
    hostile.respond = lambda *_: endless(b"<p>no</p>" * 1000, b"HTTP/1.1 500 No\r\n\r\n")
    assert "answered 500: <p>no</p>" in trouble(get)


def test_endless_pages_of_a_list_end(hostile):
    page = {**answers.listing("Cluster"), "metadata": {"continue": "more"}}
    hostile.respond = lambda *_: http_json(page)
    assert "a list of clusters without an end" in trouble(list_all)


@pytest.mark.parametrize(
    "page", [{}, {"items": {}}, {"items": "x"}, {"items": [None]}, {"items": [answers.cluster(), 5]}, {"kind": "List "}]
)
def test_list_without_items_is_not_an_empty_list(hostile, page):
    hostile.respond = lambda *_: http_json(page)
    if page != {"kind": "List "}:
        assert "a list without its objects" in trouble(list_all)
    else:
        assert list_all() == []


@pytest.mark.parametrize("answer", [{}, {"metadata": {}}, {"metadata": {"name": "other"}}, {"metadata": "web"}])
def test_another_object_is_refused(hostile, answer):
    hostile.respond = lambda *_: http_json(answer)
    assert "something else than web" in trouble(get)


def test_connections_are_reused(hostile):
    hostile.respond = lambda *_: http_json(answers.cluster())
    before, hostile.keeps_open = hostile.connections, True
    for _ in range(5):
        assert get() == answers.cluster()
    hostile.respond = lambda *_: http_json(answers.not_found("clusters", "web"), 404)
    assert get() is None
    assert get() is None
    assert hostile.connections == before + 1


# --- watches ---------------------------------------------------------------------------------------------------


def test_endless_line_ends_the_watch(hostile):
    hostile.respond = lambda *_: endless(b"{" * 1024 * 1024)
    assert f"a watch event of more than {LONGEST_EVENT // 1024 // 1024} MiB" in trouble(watch_all)


def test_endless_events_end_at_the_deadline(hostile):
    event = json.dumps({"type": "BOOKMARK", "object": answers.cluster()}).encode() + b"\n"
    hostile.respond = lambda *_: endless(event)
    pool = urllib3.PoolManager()
    response = pool.request("GET", hostile.url, preload_content=False, retries=False)
    lines = list(read_lines(response, within_s=0.2))
    response.close()
    assert set(lines) == {event.strip()}


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_lines_are_joined_across_chunks(hostile, size):
    names = [f"web-{number}" for number in range(5)]
    body = b"\r\n".join(json.dumps({"type": "ADDED", "object": answers.cluster(name)}).encode() for name in names)
    body = b"\n\n" + body + b"\n"
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    hostile.respond = lambda *_: [CHUNKED, b"".join(chunks), b"0\r\n\r\n"]
    assert [event.object["metadata"]["name"] for event in watch_all()] == names


@pytest.mark.parametrize(
    "line", [b"nonsense", b"[]", b"[" * 100_000, b'{"type":"ERROR"}', b'{"type":"ERROR","object":{"code":-7}}', b"\xff"]
)
def test_invalid_event_ends_the_watch_with_an_explanation(hostile, line):
    hostile.respond = lambda *_: http(line + b"\n")
    assert trouble(watch_all)


@examples(40)
@given(st.lists(st.tuples(st.sampled_from(["ADDED", "", 5, None]) | texts(), json_values()), max_size=4))
def test_event_may_contain_any_object(events):
    for kind, value in events:
        event = _watch_event({"type": kind, "object": value})
        assert event.type.isprintable()


# --- the parts -------------------------------------------------------------------------------------------------


@examples(150)
@given(st.binary(max_size=200) | json_values().map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_object_or_an_error(body):
    with suppress(NonsenseError):
        answer = parse(body)
        assert isinstance(answer, dict)
        for check in (items_of, lambda value: check_named(value, "web")):
            with suppress(NonsenseError):
                check(answer)
    assert str(build_refusal(500, body, {})).isprintable()


@examples(80)
@given(texts() | st.floats().map(str))
def test_retry_after_is_a_short_wait_or_none(header):
    seconds = read_retry_after(header)
    assert seconds is None or 0 <= seconds <= 300


def test_megabyte_of_text_is_cut(hostile):
    hostile.respond = lambda *_: http_json(answers.refusal(500, MEGABYTE, MEGABYTE), 500)
    with pytest.raises(RefusedError) as caught:
        get()
    assert len(str(caught.value)) < 1000
    assert len(caught.value.reason) <= 100


PAGE = "404 page not found\n"
STRANGERS = {
    "nginx-404": (404, "<html><head><title>404 Not Found</title></head></html>"),
    "go-proxy-404": (404, PAGE),
    "kong-404": (404, '{"message": "no Route matched with those values"}'),
    "look-alike-404": (404, '{"reason": "NotFound", "message": "clusters not found"}'),
    "html-403": (403, "<html>Access denied by the firewall</html>"),
    "html-500": (500, "<html>Internal error</html>"),
    "gateway-502": (502, "<html>502 Bad Gateway</html>"),
    "gateway-504": (504, "upstream request timeout"),
}


@pytest.mark.parametrize("call", [get, list_all, watch_all, lambda: connect().delete(LISTS, "default", "web")])
@pytest.mark.parametrize(("status", "body"), STRANGERS.values(), ids=STRANGERS)
def test_answer_of_a_proxy_says_nothing_of_the_cluster(hostile, status, body, call):
    hostile.respond = lambda *_: http(body.encode(), status)
    with pytest.raises(RefusedError) as caught:
        call()
    if call is not watch_all or body != PAGE:
        assert caught.value.cause is Cause.NOT_API_SERVER
        assert f"Something other than the API server answered {status}" in str(caught.value)


def test_unknown_path_of_an_api_server_is_told_from_that_of_a_proxy(hostile):
    def respond(method: str, path: str, body: bytes):
        return http_json({"gitVersion": "v1.36.0"}) if path == "/version" else http(PAGE.encode(), 404)

    hostile.respond = respond
    with pytest.raises(RefusedError) as caught:
        connect().cluster_api_version()
    assert caught.value.cause is Cause.UNSERVED
