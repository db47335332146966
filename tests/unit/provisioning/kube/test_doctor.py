"""Each problem on the way to the API server has its own explanation."""

import os

from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict
from tests.unit.provisioning.kube.conftest import NAME, NOWHERE, plugin
from tests.unit.provisioning.kube.tls_servers import Authority, api_server


def refusing(proxy):
    proxy.refuses = True
    return f"http://{proxy.address}"


def wanting_a_login(proxy):
    proxy.login = "me:right"
    return f"http://me:wrong@{proxy.address}"


CASES = {
    "nobody there": lambda t: ({"server": f"https://{NOWHERE}"}, None),
    "unknown name": lambda t: ({"server": f"https://{NAME}:6443"}, None),
    "plain http": lambda t: ({"server": f"https://127.0.0.1:{t['plain'].port}"}, None),
    "another CA": lambda t: ({"certificate-authority": str(Authority(t["tmp_path"] / "other").file)}, None),
    "broken CA": lambda t: ({"certificate-authority": __file__}, None),
    "another name": lambda t: ({"server": f"https://localhost:{t['api'].port}"}, None),
    "dead proxy": lambda t: (
        {"server": f"https://{NAME}:6443", "proxy-url": f"http://me:secret@{NOWHERE}"},
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


def test_doctor_explains_each_connection_problem(db, configure, api, proxy, tmp_path):
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
