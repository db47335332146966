"""Half-sent requests hold no thread of the web server, and a stop finishes complete requests."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import ROOT, free_port, hermetic_environment

HALF_HEADERS = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Half: "
HALF_BODY = (
    b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 1000\r\n\r\nabc"
)
SLOW_APPLICATION = """
import sys, time
from django.conf import settings
settings.configure(MAX_REQUEST_BYTES=1000)
from controlpanel.serve import serve

def application(environ, start_response):
    time.sleep(1.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]

serve(application, host="127.0.0.1", port=int(sys.argv[1]), threads=2, graceful_s=10)
"""


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("The web server does not listen.")


@pytest.fixture
def port(tmp_path: Path):
    """Start the panel's web server on a free port."""
    number, environment = free_port(), hermetic_environment(tmp_path)
    subprocess.run([sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"], env=environment, check=True)
    arguments = [sys.executable, "-m", "controlpanel.serve", "--port", str(number), "--threads", "2"]
    process = subprocess.Popen(arguments, env=environment, cwd=ROOT)
    try:
        wait_for(number, process)
        yield number
    finally:
        process.kill()
        process.wait()


def test_half_sent_requests_block_no_page(port):
    held = []
    for sent in [HALF_HEADERS] * 50 + [HALF_BODY] * 20 + [b""] * 50:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(sent)
        held.append(client)
    for path in ("/livez", "/admin/login/"):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as page:
            page.request("GET", path, headers={"Host": "localhost"})
            answer = page.getresponse()
            answer.read()
            assert answer.status == 200
    for client in held:
        client.close()


def test_too_large_body_is_refused_at_once(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(
            b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 200000000\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_stop_finishes_complete_requests(tmp_path):
    number = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_APPLICATION, str(number)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        wait_for(number, process)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", number, timeout=20)) as page:
            page.request("GET", "/")
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert page.getresponse().read() == b"done"
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
