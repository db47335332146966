"""A panel with a kubeconfig that a test writes, before small servers with real TLS."""

import sys

import pytest

from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from tests.support.kubeconfig import write_kubeconfig
from tests.unit.provisioning.kube.tls_servers import Authority, api_server, proxy_to

NAME = "api.cluster.test"
"""Not resolvable: who reaches it went through the proxy."""
NOWHERE = "127.0.0.1:9"
"""Nothing listens there."""


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("server", "127.0.0.1", NAME)


@pytest.fixture
def api(certificate):
    with api_server(certificate) as stub:
        yield stub


@pytest.fixture
def proxy(api):
    with proxy_to(api.port) as stub:
        yield stub


@pytest.fixture(autouse=True)
def no_proxies_of_ours(monkeypatch):
    """Only what a test sets counts; and libraries that read other variables must not be led astray by them."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/bundle.pem")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nonexistent/bundle.pem")


@pytest.fixture
def configure(tmp_path, use_cluster, authority, api):
    """Write a kubeconfig and use it: `configure(cluster={…}, user={…})`; None leaves a key out."""

    def write(cluster=None, user=None):
        wanted = {"server": api.url, "certificate-authority": str(authority.file), **(cluster or {})}
        named = {key: value for key, value in wanted.items() if value is not None}
        path = write_kubeconfig(tmp_path / "kubeconfig", named, {"token": "static"} if user is None else user)
        use_cluster(path)
        return path

    return write


def version():
    return connect().version()


def trouble():
    """The sentence about why there is no answer."""
    with pytest.raises(KubeError) as caught:
        version()
    return str(caught.value)


PLUGIN = """\
import json, pathlib, sys
count = pathlib.Path(sys.argv[1])
runs = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(runs))
status = {"token": f"run-{runs}", "expirationTimestamp": sys.argv[2]}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def plugin(tmp_path, *arguments, source=PLUGIN):
    """The user of a kubeconfig who logs in with a program of this source."""
    script = tmp_path / "plugin.py"
    script.write_text(source)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script), *arguments],
            "interactiveMode": "Never",
        }
    }
