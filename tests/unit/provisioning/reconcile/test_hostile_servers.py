"""Servers that pretend to be a project's database get no password."""

import contextlib
import socketserver
import struct
from contextlib import ExitStack

import pytest

from projects.domain.connection import Connection
from provisioning.decisions.types import Verification
from provisioning.reconcile.verify import verify_connection
from tests.support.serving import serving

PASSWORD = "the-superuser's-password"
_NO_TLS = b"N"
OK, CLEAR_TEXT, MD5, SASL = 0, 3, 5, 10


def authentication(kind, body=b""):
    """Return an Authentication message of the PostgreSQL protocol."""
    return b"R" + struct.pack("!ii", 8 + len(body), kind) + body


class Impostor(socketserver.ThreadingTCPServer):
    """A server that answers a client's start with `answer` and keeps what it is sent then."""

    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        self.answer, self.received = answer, b""
        super().__init__(("127.0.0.1", 0), _Session)


class _Session(socketserver.BaseRequestHandler):
    server: Impostor

    def handle(self) -> None:
        with contextlib.suppress(OSError, struct.error):
            self.request.settimeout(3)
            (length,) = struct.unpack("!i", self.request.recv(4))
            start = self.request.recv(length - 4)
            while start[:4] in (struct.pack("!i", 80877103), struct.pack("!i", 80877104)):  # TLS, GSS encryption
                self.request.sendall(_NO_TLS)
                (length,) = struct.unpack("!i", self.request.recv(4))
                start = self.request.recv(length - 4)
            self.request.sendall(self.server.answer)
            while more := self.request.recv(4096):
                self.server.received += more


@pytest.fixture
def impostor():
    """Return a function that starts a server with an answer."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(serving(Impostor(answer)))


def connection_to(server):
    return Connection("127.0.0.1", server.server_address[1], "postgres", "postgres", PASSWORD)


READY = (
    authentication(OK)
    + b"S"
    + struct.pack("!i", 4 + len(b"server_version\x0016.4\x00"))
    + b"server_version\x0016.4\x00"
    + b"Z"
    + struct.pack("!i", 5)
    + b"I"
)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(authentication(CLEAR_TEXT), id="asks for the clear text"),
        pytest.param(authentication(MD5, b"salt"), id="asks for an md5 hash"),
        pytest.param(READY, id="asks for nothing"),
    ],
)
def test_server_without_scram_gets_no_password(impostor, answer):
    server = impostor(answer)
    verification, note = verify_connection(connection_to(server))
    assert verification is Verification.REJECTED
    assert "DATABASE_REQUIRE_AUTH" in note
    assert server.received in (b"", b"X\x00\x00\x00\x04")  # at most a good-bye


def test_scram_server_without_the_password_is_detected(impostor):
    server = impostor(authentication(SASL, b"SCRAM-SHA-256\x00\x00"))
    verification, _ = verify_connection(connection_to(server))
    assert verification is not Verification.VERIFIED
    assert PASSWORD.encode() not in server.received


def test_md5_is_used_if_allowed(impostor, settings):
    settings.DATABASE_REQUIRE_AUTH = "scram-sha-256,md5"
    server = impostor(authentication(MD5, b"salt"))
    verify_connection(connection_to(server))
    assert b"md5" in server.received
    assert PASSWORD.encode() not in server.received


def test_server_without_tls_is_refused_if_tls_is_required(impostor, settings):
    settings.DATABASE_SSLMODE = "require"
    server = impostor(READY)
    verification, note = verify_connection(connection_to(server))
    assert verification is Verification.REJECTED
    assert "DATABASE_SSLMODE" in note
