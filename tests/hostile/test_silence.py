"""An API server that stops answering while its connections stay open."""

import threading
import time

import pytest

from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import SECRET
from provisioning.watch.server_probe import SILENCE_LIMIT_S, ServerProbe
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.hostile.server import http, http_json
from tests.support.kubeconfig import write_kubeconfig
from tests.support.processes import free_port
from tests.support.waiting import wait_for

VERSION = http_json({"gitVersion": "v1.36.3"})
REFUSED = http_json({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403}, 403)
BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}\n'


@pytest.fixture
def probe(hostile):
    return ServerProbe(threading.Event())


def make_silent(probe):
    probe._answered_at_s -= SILENCE_LIMIT_S + 1


@pytest.mark.parametrize("answer", [VERSION, REFUSED, http_json({}, 500)], ids=["version", "refusal", "internal error"])
def test_any_answer_of_the_server_ends_the_silence(hostile, probe, answer):
    make_silent(probe)
    assert "has not answered" in probe.silence()
    hostile.respond = lambda method, path, body: answer
    probe.ask()
    assert probe.silence() == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "can't be reached: the connection broke"),
        (http(b"<h1>Bad Gateway</h1>", 502), "answered 502"),
        (http(b"", 503), "answered 503"),
        (http(b"", 504), "answered 504"),
        (http(b"<h1>Welcome</h1>"), "is not JSON"),
    ],
    ids=["nothing", "502", "503", "504", "a page"],
)
def test_answer_of_a_proxy_does_not_end_the_silence_and_is_the_cause(hostile, probe, answer, words):
    hostile.respond = lambda method, path, body: answer
    probe.ask()
    assert probe.silence() == ""
    make_silent(probe)
    probe.ask()
    assert words in probe.silence()
    assert "hangs" not in probe.silence()
    hostile.respond = lambda method, path, body: VERSION
    probe.ask()
    assert probe.silence() == ""


def test_server_that_is_down_is_not_said_to_hang(use_cluster, tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    use_cluster(write_kubeconfig(tmp_path / "kubeconfig", {"server": address}, {"token": "canary-token"}))
    probe = ServerProbe(threading.Event())
    make_silent(probe)
    probe.ask()
    assert probe.silence().startswith(f"The API server {address} can't be reached: nothing accepts connections there")


def test_missing_kubeconfig_is_not_said_to_be_a_silent_server(use_cluster, tmp_path):
    use_cluster(tmp_path / "missing")
    probe = ServerProbe(threading.Event())
    make_silent(probe)
    probe.ask()
    assert "API server" not in probe.silence()
    assert "missing" in probe.silence()


def test_stream_that_has_just_listed_is_not_interrupted():
    """After a hang, a list may succeed before the probe asks again. Lists must not be repeated until it does."""
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    stream.is_in_step, stream._listed_at_s = True, time.monotonic()
    stream.interrupt("silent")
    assert (stream.is_in_step, stream.error) == (True, "")
    stream._listed_at_s -= SILENCE_LIMIT_S + 1
    stream.interrupt("silent")
    assert (stream.is_in_step, stream.error) == (False, "silent")


def test_watch_that_waits_for_an_event_ends_at_once(hostile):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    silent = threading.Event()

    def respond(method, path, body):
        yield head + f"{len(BOOKMARK):x}\r\n".encode() + BOOKMARK + b"\r\n"
        silent.wait(30)

    seen: list[str] = []
    hostile.respond, kube = respond, connect()

    def follow():
        try:
            seen.extend(
                event.type for event in kube.watch(SECRET, "default", labels="", resource_version="7", timeout_s=240)
            )
        except KubeError as error:
            seen.append(type(error).__name__)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        wait_for(lambda: seen == ["BOOKMARK"], timeout_s=10)
        kube.end_watches()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        silent.set()


def test_watch_that_is_never_accepted_ends_with_the_request_timeout(hostile):
    silent = threading.Event()

    def respond(method, path, body):
        silent.wait(30)
        yield b""

    hostile.respond = respond
    try:
        with pytest.raises(KubeError, match="can't be reached"):
            list(connect().watch(SECRET, "default", labels="", resource_version="7", timeout_s=240))
    finally:
        silent.set()
