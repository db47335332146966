"""Trust in the API server's certificate, and client certificates."""

import base64

import pytest

from tests.unit.provisioning.kube.conftest import trouble, version
from tests.unit.provisioning.kube.tls_servers import DAY, NOW, Authority, api_server


def data_of(path):
    return base64.b64encode(path.read_bytes()).decode()


def test_ca_file_is_relative_to_the_kubeconfig(configure, authority, tmp_path):
    (tmp_path / "ca.crt").write_bytes(authority.file.read_bytes())
    configure({"certificate-authority": "ca.crt"})
    assert version() == "v1.36.0"


def test_inline_ca_is_used(configure, authority):
    configure({"certificate-authority": None, "certificate-authority-data": data_of(authority.file)})
    assert version() == "v1.36.0"


def test_renewed_ca_is_trusted_for_new_connections(configure, api, authority, tmp_path):
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority(tmp_path / "old").file.read_bytes())
    configure({"certificate-authority": str(ca)})
    assert "not trusted" in trouble()
    ca.write_bytes(authority.file.read_bytes())
    assert version() == "v1.36.0"


def test_other_ca_is_not_trusted(configure, tmp_path):
    configure({"certificate-authority": str(Authority(tmp_path / "other").file)})
    assert "its certificate is not trusted; check the CA" in trouble()


def test_system_cas_are_used_without_a_ca(configure):
    configure({"certificate-authority": None})
    assert "its certificate is not trusted" in trouble()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_verification_is_skipped_on_request_only(configure):
    configure({"certificate-authority": None, "insecure-skip-tls-verify": True})
    assert version() == "v1.36.0"


def test_expired_certificate_is_distinguished_from_an_untrusted_one(authority, configure):
    with api_server(authority.issue("old", "127.0.0.1", until=NOW - DAY)) as stub:
        configure({"server": stub.url})
        assert "its certificate is not valid now" in trouble()


def test_tls_server_name_is_used(authority, configure):
    with api_server(authority.issue("named", "kubernetes.default.svc")) as stub:
        configure({"server": stub.url})
        assert "its certificate is for another name; set tls-server-name" in trouble()
        configure({"server": stub.url, "tls-server-name": "kubernetes.default.svc"})
        assert version() == "v1.36.0"


@pytest.mark.parametrize("form", ["files", "inline"])
def test_client_certificate_is_used(authority, certificate, configure, form):
    mine, key = authority.issue("panel")
    user = (
        {"client-certificate": str(mine), "client-key": str(key)}
        if form == "files"
        else {"client-certificate-data": data_of(mine), "client-key-data": data_of(key)}
    )
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, user)
        assert version() == "v1.36.0"
        assert stub.seen == [("", "panel")]


def test_client_certificate_of_another_ca_is_refused(authority, certificate, configure, tmp_path):
    mine, key = Authority(tmp_path / "other", "other-ca").issue("panel")
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, {"client-certificate": str(mine), "client-key": str(key)})
        assert "client certificate" in trouble()


def test_key_of_another_certificate_is_explained(authority, certificate, configure):
    mine, _ = authority.issue("panel")
    _, other = authority.issue("other")
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, {"client-certificate": str(mine), "client-key": str(other)})
        assert "a certificate or key in the kubeconfig can't be used" in trouble()
