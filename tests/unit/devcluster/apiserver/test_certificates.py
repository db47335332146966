"""Certificates of the embedded API server: created once, kept, renewed in time, and private."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from devcluster.apiserver.http.certificates import Certificates

NOW = datetime.now(UTC)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def presented(context: ssl.SSLContext, trusted: Path) -> x509.Certificate:
    """The certificate that a client gets, once it has checked it for 127.0.0.1: a handshake in memory."""
    (to_server, to_client) = (ssl.MemoryBIO(), ssl.MemoryBIO())
    server = context.wrap_bio(to_server, to_client, server_side=True)
    trust = ssl.create_default_context(cafile=trusted)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    client = trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


def test_files_are_private(tmp_path):
    Certificates(tmp_path / "pki").build_context(NOW)
    files = sorted((tmp_path / "pki").iterdir())
    assert [file.name for file in files] == ["apiserver.crt", "apiserver.key", "ca.crt", "ca.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_certificate_is_signed_by_the_authority(tmp_path):
    certificates = Certificates(tmp_path)
    found = presented(certificates.build_context(NOW), certificates.authority_file)
    assert found.not_valid_before_utc <= NOW
    assert found.not_valid_after_utc - NOW > timedelta(days=364)


def test_another_authority_is_not_trusted(tmp_path):
    context = Certificates(tmp_path / "one").build_context(NOW)
    Certificates(tmp_path / "other").build_context(NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        presented(context, tmp_path / "other" / "ca.crt")


def test_restart_keeps_authority_and_certificate(tmp_path):
    Certificates(tmp_path).build_context(NOW)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    Certificates(tmp_path).build_context(NOW + timedelta(days=200))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_expiring_certificate_is_renewed_by_the_same_authority(tmp_path):
    certificates = Certificates(tmp_path)
    certificates.build_context(NOW - timedelta(days=300))
    authority = certificates.authority_pem
    renewed = presented(Certificates(tmp_path).build_context(NOW), certificates.authority_file)
    assert renewed.not_valid_after_utc > NOW + timedelta(days=364)
    assert certificates.authority_pem == authority


def test_running_server_uses_the_renewed_certificate(tmp_path):
    certificates = Certificates(tmp_path)
    context = certificates.build_context(NOW - timedelta(days=280))
    before = presented(context, certificates.authority_file)
    assert not certificates.renew(NOW - timedelta(days=10))
    assert presented(context, certificates.authority_file) == before
    assert certificates.renew(NOW)
    assert presented(context, certificates.authority_file) == certificate(tmp_path / "apiserver.crt") != before


def test_expiring_authority_is_replaced_with_the_certificate(tmp_path):
    certificates = Certificates(tmp_path)
    certificates.build_context(NOW - timedelta(days=3300))
    old = certificates.authority_pem
    found = presented(certificates.build_context(NOW), certificates.authority_file)
    assert certificates.authority_pem != old
    assert found.not_valid_after_utc > NOW


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "apiserver.crt", "apiserver.key"])
@pytest.mark.parametrize("content", [b"", b"no certificate", None], ids=["empty", "damaged", "missing"])
def test_invalid_file_is_replaced(tmp_path, name, content):
    certificates = Certificates(tmp_path)
    certificates.build_context(NOW)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    presented(certificates.build_context(NOW), certificates.authority_file)


@pytest.mark.parametrize("name", ["ca", "apiserver"])
def test_certificate_without_its_key_is_replaced(tmp_path, name):
    Certificates(tmp_path / "other").build_context(NOW)
    certificates = Certificates(tmp_path)
    certificates.build_context(NOW)
    (tmp_path / f"{name}.key").write_bytes((tmp_path / "other" / f"{name}.key").read_bytes())
    presented(certificates.build_context(NOW), certificates.authority_file)
