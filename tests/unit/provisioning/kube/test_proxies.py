"""Connections to the API server through a proxy of the environment or of the kubeconfig."""

import pytest

from tests.unit.provisioning.kube.conftest import NAME, NOWHERE, trouble, version
from tests.unit.provisioning.kube.tls_servers import api_server, proxy_to


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_proxy_of_the_environment_is_used(configure, proxy, monkeypatch, variable, scheme):
    monkeypatch.setenv(variable, f"{scheme}{proxy.address}")
    configure({"server": f"https://{NAME}:6443"})
    assert version() == "v1.36.0"
    assert proxy.connects == [f"{NAME}:6443"]


@pytest.mark.parametrize("exempt", [NAME, ".cluster.test", "cluster.test", "*", f"other.test,{NAME}"])
def test_no_proxy_variable_is_respected(configure, proxy, monkeypatch, exempt):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", exempt)
    configure({"server": f"https://{NAME}:6443"})
    assert "its name can't be resolved" in trouble()
    assert proxy.connects == []


def test_loopback_uses_no_proxy_of_the_environment(configure, monkeypatch):
    """As with kubectl: the embedded cluster works on machines whose owner set a proxy and no NO_PROXY."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{NOWHERE}")
    configure()
    assert version() == "v1.36.0"
    with api_server(None) as plain:
        configure({"server": f"http://127.0.0.1:{plain.port}"})
        assert version() == "v1.36.0"


def test_proxy_of_the_kubeconfig_overrides_the_environment(configure, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{NOWHERE}")
    monkeypatch.setenv("NO_PROXY", "*")
    configure({"server": f"https://{NAME}:6443", "proxy-url": f"http://{proxy.address}"})
    assert version() == "v1.36.0"
    assert proxy.connects == [f"{NAME}:6443"]


def test_proxy_gets_user_and_password(configure, proxy):
    proxy.login = "me:p@ss word"
    configure({"server": f"https://{NAME}:6443", "proxy-url": f"http://me:p%40ss%20word@{proxy.address}"})
    assert version() == "v1.36.0"


def test_tls_server_name_and_ca_apply_through_a_proxy(authority, configure):
    with api_server(authority.issue("tunneled", "kubernetes.default.svc")) as stub, proxy_to(stub.port) as proxy:
        there = {"server": f"https://{NAME}:6443", "proxy-url": f"http://{proxy.address}"}
        configure(there)
        assert "its certificate is for another name" in trouble()
        configure({**there, "tls-server-name": "kubernetes.default.svc"})
        assert version() == "v1.36.0"
        configure({**there, "tls-server-name": "kubernetes.default.svc", "certificate-authority": None})
        assert "its certificate is not trusted" in trouble()


@pytest.mark.filterwarnings("ignore:SOCKS support in urllib3")
@pytest.mark.parametrize("address", ["ftp://proxy.test:1", "socks5://proxy.test:1080", "http://"])
def test_unusable_proxy_is_explained(configure, address):
    configure({"server": f"https://{NAME}:6443", "proxy-url": address})
    assert "can't be used: its address has to be http://HOST:PORT" in trouble()
