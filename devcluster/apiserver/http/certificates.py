"""The TLS certificate of the API server and the certificate authority that signs it, kept in one directory.

The authority is valid for ten years and the certificate for one, as with kubeadm. Only the owner can read the files.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

log = logging.getLogger(__name__)

AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 365
RENEW_AUTHORITY_DAYS, RENEW_CERTIFICATE_DAYS = 400, 90
"""Days before expiry at which a certificate is replaced. An authority must outlive the certificates it signs."""
_SKEW = timedelta(minutes=5)
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate in PEM, without the key."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def lasts(self, now: datetime, days: int) -> bool:
        return now + timedelta(days=days) < self.certificate.not_valid_after_utc


class Certificates:
    """The files `ca.crt`, `ca.key`, `apiserver.crt` and `apiserver.key` of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.authority_file = directory / "ca.crt"
        self._context: ssl.SSLContext | None = None

    @property
    def authority_pem(self) -> str:
        """The certificate of the authority in PEM, for clients and the kubeconfig."""
        return self.authority_file.read_text()

    def build_context(self, now: datetime) -> ssl.SSLContext:
        """Return the server's TLS settings. Creates the certificates, and replaces those that expire soon.

        OSError if the directory can't be written."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        authority = self._read("ca")
        if authority is None or not authority.lasts(now, RENEW_AUTHORITY_DAYS):
            authority = _build_authority(now)
            self._write("ca", authority)
        self._ensure_certificate(authority, now)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.num_tickets = 0  # no session tickets: clients keep connections open and never resume a session
        self._load(context)
        self._context = context
        return context

    def renew(self, now: datetime) -> bool:
        """Replace the certificate if it expires soon, for new connections. Return whether it was replaced."""
        authority = self._read("ca")
        if self._context is None or authority is None or not self._ensure_certificate(authority, now):
            return False
        self._load(self._context)
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._directory / "apiserver.crt", self._directory / "apiserver.key")

    def _ensure_certificate(self, authority: Identity, now: datetime) -> bool:
        found = self._read("apiserver")
        if found and found.lasts(now, RENEW_CERTIFICATE_DAYS) and _is_signed(found.certificate, authority.certificate):
            return False
        self._write("apiserver", _build_certificate(authority, now))
        return True

    def _read(self, name: str) -> Identity | None:
        """Return a certificate and its key; None if a file is missing or damaged, or if they do not match."""
        try:
            certificate = x509.load_pem_x509_certificate((self._directory / f"{name}.crt").read_bytes())
            key = serialization.load_pem_private_key((self._directory / f"{name}.key").read_bytes(), None)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("The certificate %s can't be read (%s); a new one is created.", name, type(error).__name__)
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            log.warning("The certificate %s does not match its key; new ones are created.", name)
            return None
        return Identity(certificate, key)

    def _write(self, name: str, identity: Identity) -> None:
        key = identity.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(self._directory / f"{name}.key", key)
        write_private(self._directory / f"{name}.crt", identity.pem)


def write_private(path: Path, content: bytes) -> None:
    """Replace the file atomically. Only its owner can read it."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def _is_signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _build_authority(now: datetime) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "devcluster")])
    builder = (
        _begin(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def _build_certificate(authority: Identity, now: datetime) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    names = [x509.DNSName(one) for one in _NAMES]
    addresses = [x509.IPAddress(ipaddress.ip_address(one)) for one in _ADDRESSES]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _begin(name, authority.certificate.subject, key, now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    return Identity(builder.sign(authority.key, hashes.SHA256()), key)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
