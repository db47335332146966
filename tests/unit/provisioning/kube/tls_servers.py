"""Small real servers on loopback: one that speaks TLS as an API server does, and an HTTP proxy before it."""

import base64
import datetime
import ipaddress
import json
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hostile import answers
from tests.support.serving import serving

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Authority:
    """A CA that writes certificates with their keys into a folder."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self.folder, self.name = folder, name
        folder.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, self._key, [], NOW + DAY, is_ca=True)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *alternatives: str, until: datetime.datetime = NOW + DAY) -> tuple[Path, Path]:
        """Return the files of a certificate and its key; `alternatives` are host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_general_name(one) for one in alternatives]
        certificate, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(name, key, names, until).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key_file

    def _sign(self, name, key, names, until, *, is_ca=False):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 2 * DAY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class ApiStub:
    """Answers /version to authenticated requests, to all if `tokens` is None. `seen` has the clients."""

    port: int = 0
    tokens: set[str] | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(Authorization header, common name of the client's certificate) of each request"""
    headers: list[dict[str, list[str]]] = field(default_factory=list)
    """All headers of each request"""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authorizations(self) -> list[str]:
        return [authorization for authorization, _ in self.seen]


@contextmanager
def api_server(certificate: tuple[Path, Path] | None, client_authority: Path | None = None) -> Iterator[ApiStub]:
    """Serve until the end of the block; with `client_authority` only clients with its certificates get in."""
    stub = ApiStub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            stub.seen.append((authorization, self._common_name()))
            stub.headers.append({name: self.headers.get_all(name, []) for name in self.headers})
            is_welcome = stub.tokens is None or authorization.removeprefix("Bearer ") in stub.tokens
            refused = 401, answers.refusal(401, "Unauthorized", "Unauthorized")
            status, body = (200, {"gitVersion": "v1.36.0"}) if is_welcome else refused
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _common_name(self) -> str:
            peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
            subject = [pair for part in (peer or {}).get("subject", ()) for pair in part]
            return next((str(pair[1]) for pair in subject if pair[0] == "commonName"), "")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if client_authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_authority)
    with _serving(Handler, context) as port:
        stub.port = port
        yield stub


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None) -> Iterator[int]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request, client_address) -> None:
            # The handshake belongs to the connection's own thread: one bad client must not hold up the others.
            if context is None:
                super().finish_request(request, client_address)
                return
            with context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

        def handle_error(self, request, client_address) -> None:
            """Clients that end a handshake are what is tested."""

    with serving(Server(("127.0.0.1", 0), handler)) as server:
        yield server.server_port


@dataclass
class ProxyStub:
    port: int = 0
    connects: list[str] = field(default_factory=list)
    """What clients asked for: host:port"""
    login: str = ""
    """user:password that it wants, if any"""
    refuses: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def proxy_to(target_port: int) -> Iterator[ProxyStub]:
    """A proxy that leads every CONNECT to 127.0.0.1:`target_port`, whatever name was asked for."""
    proxy = ProxyStub()

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            proxy.connects.append(self.path)
            wanted = f"Basic {base64.b64encode(proxy.login.encode()).decode()}"
            if proxy.login and self.headers.get("Proxy-Authorization") != wanted:
                self.send_error(407)
                return
            if proxy.refuses:
                self.send_error(403)
                return
            with socket.create_connection(("127.0.0.1", target_port)) as far:
                self.send_response(200)
                self.end_headers()
                _pump(self.connection, far)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with _serving(Handler, None) as port:
        proxy.port = port
        yield proxy


def _pump(near: socket.socket, far: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        readable, _, _ = select.select([near, far], [], [], 10)
        for one in readable:
            data = one.recv(65_536)
            if not data:
                return
            (far if one is near else near).sendall(data)
        if not readable:
            return
