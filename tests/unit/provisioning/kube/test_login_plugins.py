"""Login plugins: their input, time limit, processes and credentials."""

import base64
import json
import sys
import threading
import time

import psutil
import pytest

from projects.confidential.redaction import MASK, redact
from provisioning.kube.client import connect
from provisioning.kube.errors import LoginFailedError
from tests.unit.provisioning.kube.conftest import plugin, trouble, version
from tests.unit.provisioning.kube.tls_servers import api_server

CREDENTIAL = (
    "import json; print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', "
    "'status': {'token': 'plugin-token'}}), flush=True)\n"
)
CHILD = "import time; time.sleep(600)"
HANGS = {
    "itself": "import time; time.sleep(600)",
    "with children": f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {CHILD!r}, sys.argv[1]]);"
    "time.sleep(600)",
    "with a child in another session": "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
    f"{CHILD!r}, sys.argv[1]], start_new_session=True); time.sleep(600)",
    "deaf to SIGTERM": "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
    "after its answer": CREDENTIAL + "import time; time.sleep(600)",
    "after it closed its output": "import os, time; os.close(1); time.sleep(600)",
    "printing now and then": "import time\nwhile True: print('.', flush=True); time.sleep(0.05)",
}


def processes_with(mark):
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if mark in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("source", HANGS.values(), ids=HANGS)
def test_hanging_plugin_is_killed_with_its_children(configure, settings, tmp_path, unique_name, source):
    settings.KUBE_LOGIN_TIMEOUT_S = 1.0
    mark = f"mark-{tmp_path}"
    configure(user=plugin(tmp_path, mark, source=source))
    began_s = time.monotonic()
    said = trouble()
    assert time.monotonic() - began_s < 8
    assert f"its login plugin {sys.executable} gave no credentials within 1 s and was stopped" in said
    assert processes_with(mark) == []


def test_plugin_with_endless_output_is_killed(configure, tmp_path):
    configure(user=plugin(tmp_path, source="while True: print('x' * 100_000)"))
    assert "output without an end" in trouble()


def test_child_with_open_output_blocks_nothing(configure, api, tmp_path):
    source = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {CHILD!r}, sys.argv[1]])\n{CREDENTIAL}"
    mark = f"mark-{tmp_path}"
    configure(user=plugin(tmp_path, mark, source=source))
    try:
        assert version() == "v1.36.0"
        assert api.authorizations == ["Bearer plugin-token"]
    finally:
        for left in processes_with(mark):
            left.kill()


def test_threads_share_a_failing_run(configure, settings, tmp_path):
    settings.KUBE_LOGIN_TIMEOUT_S = 1.0
    runs = tmp_path / "runs"
    configure(user=plugin(tmp_path, source=f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(600)"))
    said = []

    def ask():
        try:
            connect()
        except LoginFailedError as error:
            said.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(said) == 6
    assert time.monotonic() - began_s < 4
    assert runs.read_text() == "x"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"command": "no-such-plugin", "installHint": "Get it from example.com."},
            "not installed: Get it from",
        ),
        ({"command": "./no-such-plugin"}, "not installed"),
        ({"command": "."}, "can't be started"),
    ],
)
def test_missing_plugin_is_explained(configure, tmp_path, change, said):
    user = plugin(tmp_path)
    user["exec"] |= change
    configure(user=user)
    assert said in trouble()


ANSWERS = {
    "another version": {"apiVersion": "client.authentication.k8s.io/v1beta1"},
    "another kind": {"kind": "Secret"},
    "a certificate without its key": {"status": {"clientCertificateData": "x"}},
    "a number for a token": {"status": {"token": 7}},
    "no moment": {"status": {"token": "plugin-token", "expirationTimestamp": "soon"}},
    "no status": {"status": None},
}


@pytest.mark.parametrize("change", ANSWERS.values(), ids=ANSWERS)
def test_invalid_credential_is_refused(configure, tmp_path, change):
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "plugin-token"},
    } | change
    configure(user=plugin(tmp_path, source=f"print({json.dumps(answer)!r})"))
    assert "it printed no ExecCredential" in trouble()


def test_plugin_gets_the_cluster_on_request(configure, authority, tmp_path):
    told = tmp_path / "told"
    user = plugin(
        tmp_path, source=f"import os; open({str(told)!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n{CREDENTIAL}"
    )
    extensions = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "panel"}}]
    configure({"extensions": extensions, "disable-compression": True}, user)
    version()
    assert json.loads(told.read_text())["spec"] == {"interactive": False}
    user["exec"]["provideClusterInfo"] = True
    configure({"extensions": extensions, "disable-compression": True}, user)
    version()
    told_of = json.loads(told.read_text())["spec"]["cluster"]
    assert told_of["server"].startswith("https://127.0.0.1:")
    assert base64.b64decode(told_of["certificate-authority-data"]) == authority.file.read_bytes()
    assert told_of["disable-compression"] is True
    assert told_of["config"] == {"audience": "panel"}


def test_plugin_has_its_variables_and_no_terminal(configure, api, tmp_path):
    source = (
        "import json, os, sys; print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': "
        "'ExecCredential', 'status': {'token': os.environ['WANTED'] + sys.stdin.read()}}))"
    )
    user = plugin(tmp_path, source=source)
    user["exec"]["env"] = [{"name": "WANTED", "value": "from-the-kubeconfig"}]
    configure(user=user)
    version()
    assert api.authorizations == ["Bearer from-the-kubeconfig"]


def test_new_certificate_of_a_plugin_is_used_for_new_connections(configure, authority, certificate, tmp_path):
    first, second = authority.issue("first"), authority.issue("second")
    runs = tmp_path / "runs"
    files = [[str(path) for path in pair] for pair in (first, second)]
    source = (
        "import json, pathlib\n"
        f"runs = pathlib.Path({str(runs)!r}); first = not runs.exists(); runs.touch()\n"
        f"certificate, key = {files!r}[0 if first else 1]\n"
        "status = {'clientCertificateData': open(certificate).read(), 'clientKeyData': open(key).read(), "
        "'expirationTimestamp': '2020-01-01T00:00:00Z' if first else '2100-01-01T00:00:00Z'}\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', "
        "'status': status}))"
    )
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, plugin(tmp_path, source=source))
        version()
        version()
    assert [name for _, name in stub.seen] == ["second", "second"]


def secrets_of(authority, tmp_path):
    """Each way to log in, with what must not be seen of it."""
    mine, key = authority.issue("masked")
    pem = key.read_text()
    lines = [line for line in pem.splitlines() if not line.startswith("-")]
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "token-of-the-plugin-7", "clientCertificateData": mine.read_text(), "clientKeyData": pem},
    }
    exec_user = plugin(tmp_path, "--client-secret=argument-of-plugin-7", source=f"print({json.dumps(credential)!r})")
    exec_user["exec"]["env"] = [{"name": "CLIENT_SECRET", "value": "variable-of-plugin-7"}]
    (tmp_path / "token-file").write_text("token-in-a-file-7")
    basic = base64.b64encode(b"me:password-of-mine-7").decode()
    return {
        "token": ({"token": "token-of-the-kubeconfig-7"}, ["token-of-the-kubeconfig-7"]),
        "token file": ({"tokenFile": "token-file"}, ["token-in-a-file-7"]),
        "basic": ({"username": "me", "password": "password-of-mine-7"}, ["password-of-mine-7", basic]),
        "client key": ({"client-certificate": str(mine), "client-key": str(key)}, [pem, *lines]),
        "plugin": (
            exec_user,
            ["token-of-the-plugin-7", pem, *lines, "argument-of-plugin-7", "variable-of-plugin-7"],
        ),
    }


@pytest.mark.parametrize("way", ["token", "token file", "basic", "client key", "plugin"])
def test_credentials_of_the_panel_are_masked(configure, authority, tmp_path, way):
    user, secrets = secrets_of(authority, tmp_path)[way]
    configure(user=user)
    version()
    for secret in secrets:
        for text in (f"Invalid header value: {secret} in a log", f"said {json.dumps(secret)}"):
            masked = redact(text)
            assert secret.strip() not in masked
            assert json.dumps(secret)[1:-1] not in masked
            assert MASK in masked


def test_password_of_a_proxy_is_masked(configure, proxy):
    proxy.login = "me:pass-of-proxy-7"
    configure({"server": "https://api.cluster.test:6443", "proxy-url": f"http://me:pass-of-proxy-7@{proxy.address}"})
    version()
    assert "pass-of-proxy-7" not in redact("the proxy wants pass-of-proxy-7")
