"""Kubeconfig fields of server and user: each is honored or refused with an explanation."""

import base64

import pytest
import yaml

from projects.domain.states import Reason
from projects.models import Project
from projects.services.provisioning import add_project, request_provision
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict
from provisioning.reconcile.loop import run_pass
from tests.unit.provisioning.kube.conftest import plugin, trouble, version
from tests.unit.provisioning.kube.tls_servers import api_server

DATA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()


@pytest.mark.parametrize("login", ["token", "tokenFile", "username", "plugin"])
def test_impersonation_works_with_any_login(configure, api, tmp_path, login):
    (tmp_path / "token").write_text("from-a-file")
    ways = {
        "token": {"token": "static"},
        "tokenFile": {"tokenFile": "token"},
        "username": {"username": "me", "password": "pass"},
        "plugin": plugin(tmp_path, str(tmp_path / "runs"), "2100-01-01T00:00:00Z"),
    }
    configure(
        user=ways[login]
        | {
            "as": "jané",
            "as-uid": "4711",
            "as-groups": ["viewers", "system:authenticated"],
            "as-user-extra": {"Scopes": ["one", "two"], "acme.com/project": ["x"]},
        }
    )
    assert version() == "v1.36.0"
    (sent,) = api.headers
    assert sent["Authorization"]
    assert [value.encode("latin-1").decode() for value in sent["Impersonate-User"]] == ["jané"]
    assert sent["Impersonate-Uid"] == ["4711"]
    assert sent["Impersonate-Group"] == ["viewers", "system:authenticated"]
    assert sent["Impersonate-Extra-scopes"] == ["one", "two"]
    assert sent["Impersonate-Extra-acme.com%2Fproject"] == ["x"]


def test_no_impersonation_without_the_field(configure, api):
    configure(user={"token": "static", "as": "", "as-groups": []})
    version()
    assert not [name for name in api.headers[0] if name.startswith("Impersonate")]


def test_client_certificate_can_impersonate(authority, certificate, configure):
    mine, key = authority.issue("panel")
    with api_server(certificate, authority.file) as stub:
        configure({"server": stub.url}, {"client-certificate": str(mine), "client-key": str(key), "as": "jane"})
        version()
        assert stub.seen == [("", "panel")]
        assert stub.headers[0]["Impersonate-User"] == ["jane"]


@pytest.mark.parametrize(("password", "sent"), [("pass", "me:pass"), (None, "me:")])
def test_username_works_with_and_without_a_password(configure, api, password, sent):
    configure(user={"username": "me"} | ({"password": password} if password else {}))
    version()
    assert api.authorizations == [f"Basic {base64.b64encode(sent.encode()).decode()}"]


REFUSED = {
    "as-groups": ({}, {"token": "secret-token", "as-groups": ["admins"]}, "without `as`"),
    "as-uid": ({}, {"token": "secret-token", "as-uid": "4711"}, "without `as`"),
    "as-user-extra": ({}, {"token": "secret-token", "as-user-extra": {"scopes": ["a"]}}, "without `as`"),
    "as as a list": ({}, {"token": "secret-token", "as": ["jane"]}, "'as' of its user 'me' has to be text"),
    "as with a line feed": ({}, {"token": "secret-token", "as": "jane\nImpersonate-Group: root"}, "line break"),
    "a group with a line feed": ({}, {"as": "jane", "as-groups": ["a\r\nX: y"]}, "as-groups that are not all names"),
    "extra without lists": ({}, {"as": "jane", "as-user-extra": {"scopes": "all"}}, "not lists of texts by name"),
    "auth-provider": ({}, {"auth-provider": {"name": "oidc", "config": {"id-token": "secret-token"}}}, "auth-provider"),
    "a misspelt tokenFile": ({}, {"tokenfile": "somewhere"}, "does not know 'tokenfile' of its user 'me'"),
    "impersonate": ({}, {"token": "secret-token", "impersonate": "jane"}, "does not know 'impersonate'"),
    "token and username": ({}, {"token": "secret-token", "username": "me"}, "a token and a username; keep one"),
    "token and plugin": (
        {},
        {"token": "secret-token", "exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1"}},
        "a token and a login plugin (exec); keep one",
    ),
    "a number for a token": ({}, {"token": 12345678}, "'token' of its user 'me' has to be text"),
    "a password alone": ({}, {"password": "secret-token"}, "a password and no username"),
    "a colon": ({}, {"username": "me:admin", "password": "secret-token"}, "a username with a colon"),
    "a certificate alone": ({}, {"client-certificate-data": DATA}, "needs both"),
    "a key alone": ({}, {"client-key-data": DATA}, "needs both"),
    "a key that is not base64": (
        {},
        {"client-certificate-data": DATA, "client-key-data": "secret-token!"},
        "client-key-data that is not base64",
    ),
    "a certificate without TLS": (
        {"server": "http://127.0.0.1:1"},
        {"client-certificate-data": DATA, "client-key-data": DATA},
        "can't be used over http://",
    ),
    "no server": ({"server": None}, None, "needs a server such as https://HOST:PORT"),
    "a server without a scheme": ({"server": "127.0.0.1:6443"}, None, "needs a server such as https://HOST:PORT"),
    "a user in the server": ({"server": "https://me:secret-token@127.0.0.1:1"}, None, "a user in its server's address"),
    "a quoted boolean": ({"insecure-skip-tls-verify": "false"}, None, "has to be true or false"),
    "trust twice": ({"insecure-skip-tls-verify": True}, None, "keep one of them"),
    "an unknown field of a cluster": ({"server-name": "x"}, None, "does not know 'server-name' of its cluster 'here'"),
    "a name with a line feed": (
        {"tls-server-name": "a\nb"},
        None,
        "'tls-server-name' of its cluster 'here' holds a line",
    ),
    "a plugin for terminals": (
        {},
        {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}},
        "needs a terminal",
    ),
    "a plugin of an old API": (
        {},
        {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
        "whose apiVersion is not one of",
    ),
    "a plugin's unknown field": (
        {},
        {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "workingDir": "/"}},
        "does not know 'workingDir' of its login plugin of user 'me'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_field_is_refused_with_an_explanation(configure, api, name):
    cluster, user, said = REFUSED[name]
    configure(cluster, user)
    sentence = trouble()
    assert said in sentence
    assert sentence.startswith("The kubeconfig ")
    assert "secret-token" not in sentence
    assert "\n" not in sentence
    assert api.seen == []


TOKENS = {
    "a line feed at the end": "eyJhbGciOi.secret\n",
    "a line feed inside": "eyJhbGciOi\nX-Remote-User: secret",
    "a carriage return": "eyJhbGciOi.secret\r",
    "a blank": "Bearer eyJhbGciOi.secret",
    "a null character": "eyJhbGciOi.\0secret",
    "another alphabet": "eyJhbGciOi.secrét",
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("source", ["kubeconfig", "plugin"])
def test_invalid_token_is_refused_at_loading(configure, api, tmp_path, caplog, source, token):
    if source == "plugin":
        status = {"token": token}
        credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
        configure(user=plugin(tmp_path, source=f"import json; print(json.dumps({credential!r}))"))
    else:
        configure(user={"token": token})
    said = trouble()
    assert "holds a line break, a blank or another character that no token has" in said
    assert "secr" not in said + caplog.text
    assert api.seen == []


def test_token_file_may_end_in_a_line_feed_only(configure, api, tmp_path):
    (tmp_path / "token").write_text("eyJhbGciOi\nsecret\n")
    configure(user={"tokenFile": "token"})
    assert "holds a line break" in trouble()
    assert api.seen == []


def test_missing_user_is_refused(configure, api):
    path = configure()
    path.write_text(path.read_text().replace("user: me", "user: somebody"))
    assert "it has no user named 'somebody'" in trouble()
    assert api.seen == []


def test_duplicate_user_is_refused(configure, api):
    path = configure()
    content = yaml.safe_load(path.read_text())
    content["users"].append({"name": "me", "user": {"token": "other"}})
    path.write_text(yaml.safe_dump(content))
    assert "it has 2 users named 'me'; remove all but one" in trouble()


def test_first_of_several_files_names_the_context(configure, api, use_cluster, tmp_path):
    first = configure(user={"token": "first"})
    second = tmp_path / "second"
    content = yaml.safe_load(first.read_text())
    content["users"][0]["user"]["token"] = "second"
    content["users"].append({"name": "other", "user": {"token": "other"}})
    content["contexts"].append({"name": "there", "context": {"cluster": "here", "user": "other"}})
    content["current-context"] = "there"
    second.write_text(yaml.safe_dump(content))
    use_cluster(f"{first}:{second}")
    version()
    use_cluster(f"{tmp_path / 'missing'}:{second}:{first}")
    version()
    assert api.authorizations == ["Bearer first", "Bearer other"]


def test_invalid_file_is_not_quoted(configure):
    path = configure()
    path.write_text("users:\n- name: me\n  user: {token: 'secret-token\n")
    said = trouble()
    assert "is not YAML (line " in said
    assert "secret" not in said


def test_doctor_names_the_impersonated_user(db, configure):
    configure(user={"token": "static", "as": "jane"})
    configuration = next(finding for finding in examine() if finding.subject == "configuration")
    assert configuration.verdict is Verdict.OK
    assert "It acts as jane" in configuration.message


def test_doctor_fails_for_a_refused_field(db, configure):
    configure(user={"token": "static", "as-groups": ["admins"]})
    configuration = next(finding for finding in examine() if finding.subject == "configuration")
    assert configuration.verdict is Verdict.FAILED
    assert "without `as`" in configuration.message


def test_failed_login_plugin_is_reported_on_the_project(db, configure, tmp_path):
    configure(user=plugin(tmp_path, source="import sys; sys.exit(3)"))
    project = add_project("needs-login", actor="tester")
    request_provision(project, actor="tester")
    run_pass(project.pk)
    project = Project.objects.get(pk=project.pk)
    assert project.reason == Reason.LOGIN_FAILED
    assert "exit code 3" in project.message
