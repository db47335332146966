"""Tokens of a kubeconfig, of a Pod's service account, and of a login plugin."""

import datetime
import json
import sys

import pytest

from provisioning.kube import config
from tests.unit.provisioning.kube.conftest import plugin, trouble, version
from tests.unit.provisioning.kube.tls_servers import NOW, Authority, api_server


@pytest.fixture
def impatient(monkeypatch):
    """Token files are read again for each request."""
    monkeypatch.setattr(config, "REREAD_EVERY_S", 0.0)


def test_token_file_overrides_the_token(configure, api, tmp_path):
    (tmp_path / "token").write_text("from-the-file\n")
    configure(user={"tokenFile": "token", "token": "from-the-kubeconfig"})
    assert version() == "v1.36.0"
    assert api.authorizations == ["Bearer from-the-file"]


def test_renewed_token_file_is_read_again(configure, api, tmp_path, impatient):
    (tmp_path / "token").write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    (tmp_path / "token").write_text("second")
    version()
    assert api.authorizations == ["Bearer first", "Bearer second"]


def test_token_file_is_not_read_for_each_request(configure, api, tmp_path):
    (tmp_path / "token").write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    (tmp_path / "token").write_text("second")
    version()
    assert api.authorizations == ["Bearer first", "Bearer first"]


@pytest.mark.parametrize("harm", ["removed", "emptied"])
def test_removed_or_empty_token_file_keeps_its_last_token(configure, api, tmp_path, impatient, harm):
    file = tmp_path / "token"
    file.write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    file.unlink() if harm == "removed" else file.write_text("")
    version()
    assert api.authorizations == ["Bearer first", "Bearer first"]


def test_replaced_static_token_is_read_after_a_401(configure, api):
    api.tokens = {"new"}
    path = configure(user={"token": "old"})
    assert "token was not accepted" in trouble()
    path.write_text(path.read_text().replace("token: old", "token: new"))
    assert version() == "v1.36.0"
    assert api.authorizations == ["Bearer old", "Bearer new"]


@pytest.fixture
def in_a_pod(tmp_path, monkeypatch, settings, authority, api, use_cluster):
    """What the kubelet gives a Pod."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.file.read_bytes())
    (folder / "token").write_text("first")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    use_cluster("")
    settings.IN_CLUSTER, settings.EMBEDDED_CLUSTER, settings.SERVICE_ACCOUNT_DIR = True, False, folder
    return folder


def test_renewed_token_of_a_pod_is_read_again(in_a_pod, api, impatient):
    assert version() == "v1.36.0"
    (in_a_pod / "token").write_text("second\n")
    version()
    assert api.authorizations == ["Bearer first", "Bearer second"]


def test_another_ca_is_not_trusted_in_a_pod(in_a_pod, tmp_path):
    (in_a_pod / "ca.crt").write_bytes(Authority(tmp_path / "other").file.read_bytes())
    assert "its certificate is not trusted" in trouble()


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_pod_without_a_service_account(in_a_pod, name):
    (in_a_pod / name).unlink()
    assert trouble().startswith("The service account of this Pod can't be used: ")


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_token_of_a_plugin_is_used_until_it_expires(configure, api, tmp_path):
    in_an_hour = stamp(NOW + datetime.timedelta(hours=1))
    configure(user=plugin(tmp_path, str(tmp_path / "runs"), in_an_hour))
    version()
    version()
    assert api.authorizations == ["Bearer run-1", "Bearer run-1"]


def test_plugin_runs_again_when_its_token_expires(configure, api, tmp_path):
    soon = stamp(NOW + datetime.timedelta(seconds=30))
    configure(user=plugin(tmp_path, str(tmp_path / "runs"), soon))
    version()
    version()
    tokens = [int(authorization.removeprefix("Bearer run-")) for authorization in api.authorizations]
    assert tokens[0] < tokens[1]


def test_client_certificate_of_a_plugin_is_used(configure, authority, certificate, tmp_path):
    mine, key = authority.issue("by-plugin")
    status = {"clientCertificateData": mine.read_text(), "clientKeyData": key.read_text()}
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, plugin(tmp_path, source=f"print({json.dumps(credential)!r})"))
        assert version() == "v1.36.0"
        assert stub.seen == [("", "by-plugin")]


@pytest.mark.parametrize(
    "source", ["import sys; sys.exit('secret-of-the-plugin')", "print('secret-of-the-plugin')", "print('{}')"]
)
def test_failing_plugin_is_named_but_not_quoted(configure, tmp_path, source):
    configure(user=plugin(tmp_path, source=source))
    said = trouble()
    assert f"its login plugin {sys.executable} gave no credentials" in said
    assert "secret-of-the-plugin" not in said
