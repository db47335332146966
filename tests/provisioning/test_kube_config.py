"""How the panel gets to an API server and who it is there: kubeconfigs, a Pod's account, proxies; all with real TLS."""

import base64
import datetime
import json
import os
import sys

import pytest
import yaml

from provisioning import kube, kube_access
from provisioning.doctor import Verdict, examine
from tests.provisioning.tls_servers import DAY, NOW, Authority, api_server, proxy_to

NAME = "api.cluster.test"
"""Not resolvable: who reaches it went through the proxy."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("server", "127.0.0.1", NAME)


@pytest.fixture
def api(certificate):
    with api_server(certificate) as stub:
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
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [
                {"name": "here", "cluster": {key: value for key, value in wanted.items() if value is not None}}
            ],
            "users": [{"name": "me", "user": {"token": "static"} if user is None else user}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        use_cluster(path)
        return path

    return write


def data_of(path):
    return base64.b64encode(path.read_bytes()).decode()


def version():
    return kube.connect().version()


def trouble():
    """The sentence about why there is no answer."""
    with pytest.raises(kube.KubeError) as caught:
        version()
    return str(caught.value)


# --- certificate authorities -----------------------------------------------------------------------------------


def test_a_ca_file_may_lie_beside_the_kubeconfig(configure, authority, tmp_path):
    (tmp_path / "ca.crt").write_bytes(authority.file.read_bytes())
    configure({"certificate-authority": "ca.crt"})
    assert version() == "v1.36.0"


def test_inline_ca(configure, authority):
    configure({"certificate-authority": None, "certificate-authority-data": data_of(authority.file)})
    assert version() == "v1.36.0"


def test_a_ca_that_is_renewed_is_trusted_from_the_next_connection_on(configure, api, authority, tmp_path):
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority(tmp_path / "old").file.read_bytes())
    configure({"certificate-authority": str(ca)})
    assert "not trusted" in trouble()
    ca.write_bytes(authority.file.read_bytes())
    assert version() == "v1.36.0"


def test_another_ca_is_not_trusted(configure, tmp_path):
    configure({"certificate-authority": str(Authority(tmp_path / "other").file)})
    assert "its certificate is not trusted; check the CA" in trouble()


def test_without_a_ca_the_systems_are_asked(configure):
    configure({"certificate-authority": None})
    assert "its certificate is not trusted" in trouble()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_not_to_verify_has_to_be_said(configure):
    configure({"certificate-authority": None, "insecure-skip-tls-verify": True})
    assert version() == "v1.36.0"


def test_an_expired_certificate_is_told_from_an_untrusted_one(authority, configure):
    with api_server(authority.issue("old", "127.0.0.1", until=NOW - DAY)) as stub:
        configure({"server": stub.url})
        assert "its certificate is not valid now" in trouble()


def test_tls_server_name(authority, configure):
    with api_server(authority.issue("named", "kubernetes.default.svc")) as stub:
        configure({"server": stub.url})
        assert "its certificate is for another name; set tls-server-name" in trouble()
        configure({"server": stub.url, "tls-server-name": "kubernetes.default.svc"})
        assert version() == "v1.36.0"


# --- client certificates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["files", "inline"])
def test_client_certificates(authority, certificate, configure, form):
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


def test_a_client_certificate_of_another_ca_is_refused(authority, certificate, configure, tmp_path):
    mine, key = Authority(tmp_path / "other", "other-ca").issue("panel")
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, {"client-certificate": str(mine), "client-key": str(key)})
        assert "client certificate" in trouble()


def test_a_key_of_another_certificate_is_told(authority, certificate, configure):
    mine, _ = authority.issue("panel")
    _, other = authority.issue("other")
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, {"client-certificate": str(mine), "client-key": str(other)})
        assert "a certificate or key in the kubeconfig can't be used" in trouble()


# --- tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """Token files are read anew for each request."""
    monkeypatch.setattr(kube_access, "REREAD_EVERY_S", 0.0)


def test_a_token_file_lies_beside_the_kubeconfig_and_wins(configure, api, tmp_path):
    (tmp_path / "token").write_text("from-the-file\n")
    configure(user={"tokenFile": "token", "token": "from-the-kubeconfig"})
    assert version() == "v1.36.0"
    assert api.authorizations == ["Bearer from-the-file"]


def test_a_renewed_token_file_is_read_anew(configure, api, tmp_path, impatient):
    (tmp_path / "token").write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    (tmp_path / "token").write_text("second")
    version()
    assert api.authorizations == ["Bearer first", "Bearer second"]


def test_a_token_file_is_not_read_for_each_request(configure, api, tmp_path):
    (tmp_path / "token").write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    (tmp_path / "token").write_text("second")
    version()
    assert api.authorizations == ["Bearer first", "Bearer first"]


@pytest.mark.parametrize("harm", ["removed", "emptied"])
def test_a_token_file_that_is_being_replaced_keeps_its_last_token(configure, api, tmp_path, impatient, harm):
    file = tmp_path / "token"
    file.write_text("first")
    configure(user={"tokenFile": "token"})
    version()
    file.unlink() if harm == "removed" else file.write_text("")
    version()
    assert api.authorizations == ["Bearer first", "Bearer first"]


def test_a_static_token_that_was_replaced_is_read_after_a_401(configure, api):
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
    monkeypatch.setattr(kube_access, "SERVICE_ACCOUNT_DIR", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    use_cluster("")
    settings.IN_CLUSTER, settings.EMBEDDED_CLUSTER = True, False
    return folder


def test_in_a_pod_the_renewed_token_is_read_anew(in_a_pod, api, impatient):
    assert version() == "v1.36.0"
    (in_a_pod / "token").write_text("second\n")
    version()
    assert api.authorizations == ["Bearer first", "Bearer second"]


def test_in_a_pod_another_ca_is_not_trusted(in_a_pod, tmp_path):
    (in_a_pod / "ca.crt").write_bytes(Authority(tmp_path / "other").file.read_bytes())
    assert "its certificate is not trusted" in trouble()


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_in_a_pod_without_an_account(in_a_pod, name):
    (in_a_pod / name).unlink()
    assert trouble().startswith("The service account of this Pod can't be used: ")


# --- login plugins ---------------------------------------------------------------------------------------------

PLUGIN = """\
import json, pathlib, sys
count = pathlib.Path(sys.argv[1])
runs = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(runs))
status = {"token": f"run-{runs}", "expirationTimestamp": sys.argv[2]}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def plugin(tmp_path, *arguments, source=PLUGIN):
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


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_plugins_token_is_used_until_it_runs_out(configure, api, tmp_path):
    in_an_hour = stamp(NOW + datetime.timedelta(hours=1))
    configure(user=plugin(tmp_path, str(tmp_path / "runs"), in_an_hour))
    version()
    version()
    assert api.authorizations == ["Bearer run-1", "Bearer run-1"]


def test_a_plugin_is_asked_again_when_its_token_runs_out(configure, api, tmp_path):
    soon = stamp(NOW + datetime.timedelta(seconds=30))
    configure(user=plugin(tmp_path, str(tmp_path / "runs"), soon))
    version()
    version()
    tokens = [int(authorization.removeprefix("Bearer run-")) for authorization in api.authorizations]
    assert tokens[0] < tokens[1]


def test_a_plugins_client_certificate_is_used(configure, authority, certificate, tmp_path):
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
def test_a_plugin_that_fails_is_named_and_not_quoted(configure, tmp_path, source):
    configure(user=plugin(tmp_path, source=source))
    said = trouble()
    assert f"its login plugin {sys.executable} gave no credentials" in said
    assert "secret-of-the-plugin" not in said


# --- proxies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(api):
    with proxy_to(api.port) as stub:
        yield stub


def dead_address():
    """Where nothing listens."""
    return "127.0.0.1:9"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used(configure, proxy, monkeypatch, variable, scheme):
    monkeypatch.setenv(variable, f"{scheme}{proxy.address}")
    configure({"server": f"https://{NAME}:6443"})
    assert version() == "v1.36.0"
    assert proxy.connects == [f"{NAME}:6443"]


@pytest.mark.parametrize("exempt", [NAME, ".cluster.test", "cluster.test", "*", f"other.test,{NAME}"])
def test_no_proxy_is_honoured(configure, proxy, monkeypatch, exempt):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", exempt)
    configure({"server": f"https://{NAME}:6443"})
    assert "its name can't be resolved" in trouble()
    assert proxy.connects == []


def test_no_proxy_of_the_environment_comes_before_this_machine(configure, monkeypatch):
    """As with kubectl: the embedded cluster works on machines whose owner set a proxy and no NO_PROXY."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{dead_address()}")
    configure()
    assert version() == "v1.36.0"
    with api_server(None) as plain:
        configure({"server": f"http://127.0.0.1:{plain.port}"})
        assert version() == "v1.36.0"


def test_the_kubeconfigs_own_proxy_wins_over_the_environment(configure, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://{dead_address()}")
    monkeypatch.setenv("NO_PROXY", "*")
    configure({"server": f"https://{NAME}:6443", "proxy-url": f"http://{proxy.address}"})
    assert version() == "v1.36.0"
    assert proxy.connects == [f"{NAME}:6443"]


def test_a_proxy_is_given_its_user_and_password(configure, proxy):
    proxy.login = "me:p@ss word"
    configure({"server": f"https://{NAME}:6443", "proxy-url": f"http://me:p%40ss%20word@{proxy.address}"})
    assert version() == "v1.36.0"


def test_tls_server_name_and_ca_hold_through_a_proxy(authority, configure):
    with api_server(authority.issue("tunnelled", "kubernetes.default.svc")) as stub, proxy_to(stub.port) as proxy:
        there = {"server": f"https://{NAME}:6443", "proxy-url": f"http://{proxy.address}"}
        configure(there)
        assert "its certificate is for another name" in trouble()
        configure({**there, "tls-server-name": "kubernetes.default.svc"})
        assert version() == "v1.36.0"
        configure({**there, "tls-server-name": "kubernetes.default.svc", "certificate-authority": None})
        assert "its certificate is not trusted" in trouble()


@pytest.mark.filterwarnings("ignore:SOCKS support in urllib3")
@pytest.mark.parametrize("address", ["ftp://proxy.test:1", "socks5://proxy.test:1080", "http://"])
def test_a_proxy_that_cannot_be_used_is_told(configure, address):
    configure({"server": f"https://{NAME}:6443", "proxy-url": address})
    assert "can't be used: its address has to be http://HOST:PORT" in trouble()


# --- the doctor ------------------------------------------------------------------------------------------------


def refusing(proxy):
    proxy.refuses = True
    return f"http://{proxy.address}"


def wanting_a_login(proxy):
    proxy.login = "me:right"
    return f"http://me:wrong@{proxy.address}"


CASES = {
    "nobody there": lambda t: ({"server": f"https://{dead_address()}"}, None),
    "unknown name": lambda t: ({"server": f"https://{NAME}:6443"}, None),
    "plain http": lambda t: ({"server": f"https://127.0.0.1:{t['plain'].port}"}, None),
    "another CA": lambda t: ({"certificate-authority": str(Authority(t["tmp_path"] / "other").file)}, None),
    "broken CA": lambda t: ({"certificate-authority": __file__}, None),
    "another name": lambda t: ({"server": f"https://localhost:{t['api'].port}"}, None),
    "dead proxy": lambda t: (
        {"server": f"https://{NAME}:6443", "proxy-url": f"http://me:secret@{dead_address()}"},
        None,
    ),
    "refusing proxy": lambda t: ({"server": f"https://{NAME}:6443", "proxy-url": refusing(t["proxy"])}, None),
    "proxy with login": lambda t: ({"server": f"https://{NAME}:6443", "proxy-url": wanting_a_login(t["proxy"])}, None),
    "rejected token": lambda t: ({}, {"token": "rejected"}),
    "no token file": lambda t: ({}, {"tokenFile": "nowhere"}),
    "empty token file": lambda t: ({}, {"tokenFile": os.devnull}),
    "failing plugin": lambda t: ({}, plugin(t["tmp_path"], source="import sys; sys.exit(1)")),
    "no CA file": lambda t: ({"certificate-authority": "nowhere.crt"}, None),
}


def test_the_doctor_tells_all_apart_in_one_sentence_each(db, configure, api, proxy, tmp_path):
    api.tokens = {"static"}
    said = {}
    with api_server(None) as plain:
        things = {"api": api, "proxy": proxy, "plain": plain, "tmp_path": tmp_path}
        for name, make in CASES.items():
            configure(*make(things))
            findings = [finding for finding in examine() if finding.subject in ("configuration", "api server")]
            assert findings[-1].verdict is Verdict.FAILED, name
            said[name] = findings[-1].message
    for name, sentence in said.items():
        assert sentence.count("\n") == 0
        assert len(sentence) < 400, name
        assert "Error" not in sentence, name
        assert not any(secret in sentence for secret in ("secret", "wrong", "rejected")), name
    # Addresses and paths aside, no two say the same.
    texts = [sentence.replace(api.url, "URL").split(": ", 1)[-1] for sentence in said.values()]
    assert len(set(texts)) == len(CASES), sorted(texts)
