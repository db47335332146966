"""Temporary certificates and keys for a control plane on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devcluster.apiserver.http import certificates as tls
from devcluster.apiserver.http.certificates import write_private


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; keys are readable by the owner only."""

    ca_certificate: Path
    server_certificate: Path
    server_key: Path
    service_account_key: Path


def write_certificates(directory: Path) -> Certificates:
    """Create a CA, a server certificate for loopback that it signs, and a key that signs service account tokens."""
    authority = tls.Certificates(directory)
    authority.build_context(datetime.now(UTC))
    # kube-apiserver reads the public key from this format only.
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    write_private(directory / "sa.key", key)
    return Certificates(
        authority.authority_file, directory / "apiserver.crt", directory / "apiserver.key", directory / "sa.key"
    )
