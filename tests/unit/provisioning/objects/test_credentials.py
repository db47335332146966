"""From Secrets of KubeBlocks to a Connection, for all variants that KubeBlocks writes."""

import base64

import pytest

from projects.domain.connection import Connection, InvalidConnectionError, parse_url
from projects.domain.states import Reason
from provisioning.objects.credentials import Missing, environment_digest, read_connection
from provisioning.objects.endpoints import EndpointHosts
from provisioning.objects.names import ENDPOINT_ANNOTATION


def secret(name, labels=None, **values):
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def service(name="pg1-postgresql-postgresql", endpoint=None, ports=None):
    annotations = {ENDPOINT_ANNOTATION: endpoint} if endpoint else {}
    ports = ports or [{"name": "tcp-postgresql", "port": 5432}, {"name": "tcp-pgbouncer", "port": 6432}]
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"ports": ports}}


def read(secrets, svc=None):
    hosts = EndpointHosts.parse(["gateway.example", "192.0.2.0/24", "2001:db8::/32", "127.0.0.1"])
    return read_connection(secrets, svc, cluster="pg1", component="postgresql", namespace="demo", hosts=hosts)


ACCOUNT = secret("pg1-postgresql-account-postgres", username="postgres", password="s3cret")
LEGACY = secret(
    "pg1-conn-credential",
    username="postgres",
    password="old",
    host="pg1-postgresql",
    port="5432",
    endpoint="pg1-postgresql:5432",
)


def test_account_secret_is_completed_from_the_service():
    assert read([ACCOUNT], service()) == Connection(
        "pg1-postgresql-postgresql.demo.svc", 5432, "postgres", "postgres", "s3cret"
    )


def test_legacy_secret_has_all_fields():
    found = read([LEGACY])
    assert isinstance(found, Connection)
    assert (found.host, found.database, found.username, found.password) == (
        "pg1-postgresql.demo.svc",
        "postgres",
        "postgres",
        "old",
    )
    assert found.port == 5432
    assert type(found.port) is int
    assert found.url == "postgresql://postgres:old@pg1-postgresql.demo.svc:5432/postgres"


def test_qualified_host_is_kept():
    found = read([secret("pg1-conn-credential", username="u", password="p", host="pg1-postgresql.ns.svc", port="5432")])
    assert isinstance(found, Connection)
    assert found.host == "pg1-postgresql.ns.svc"


def test_secret_is_chosen_by_name_before_labels():
    labeled = secret(
        "restored-by-hand", {"apps.kubeblocks.io/system-account": "postgres"}, username="u", password="new"
    )
    older = secret("whatever", {"account.kubeblocks.io/name": "postgres"}, username="u", password="older")
    for others in ([ACCOUNT, LEGACY, labeled, older], [labeled, ACCOUNT]):
        found = read(others, service())
        assert isinstance(found, Connection)
        assert found.password == "s3cret"
    found = read([LEGACY, labeled, older], service())
    assert isinstance(found, Connection)
    assert found.password == "new"
    found = read([LEGACY, older], service())
    assert isinstance(found, Connection)
    assert found.password == "older"


def test_internal_accounts_of_kubeblocks_are_ignored():
    internal = secret(
        "pg1-postgresql-account-kbadmin", {"apps.kubeblocks.io/system-account": "kbadmin"}, username="a", password="b"
    )
    found = read([internal], service())
    assert isinstance(found, Missing)
    assert found.reason is Reason.SECRET_MISSING


def test_endpoint_annotation_is_used():
    for given in ([ACCOUNT], [LEGACY]):
        found = read(given, service(endpoint="127.0.0.1:54321"))
        assert isinstance(found, Connection)
        assert (found.host, found.port) == ("127.0.0.1", 54321)


@pytest.mark.parametrize("endpoint", ["nonsense", "host:port", ":5432", "h:0", "h:99999"])
def test_invalid_endpoint_annotation_is_ignored(endpoint):
    found = read([ACCOUNT], service(endpoint=endpoint))
    assert isinstance(found, Connection)
    assert (found.host, found.port) == ("pg1-postgresql-postgresql.demo.svc", 5432)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"username": "postgres", "password": ""}, "password"),
        ({"username": "postgres", "password": "  "}, "password"),
        ({"username": "postgres", "password": "undefined"}, "password"),
        ({"username": "postgres"}, "password"),
        ({"password": "p"}, "username"),
        ({}, "username and password"),
    ],
)
def test_incomplete_secret_is_missing(given, says):
    found = read([secret("pg1-postgresql-account-postgres", **given)], service())
    assert isinstance(found, Missing)
    assert found.reason is Reason.SECRET_INCOMPLETE
    assert says in found.message


@pytest.mark.parametrize(
    "data", [None, [], "x", {"username": 3, "password": None}, {"username": "%%", "password": "_"}]
)
def test_any_secret_and_service_is_handled(data):
    found = read([{"metadata": {"name": "pg1-conn-credential"}, "data": data}], service())
    assert isinstance(found, Missing)


def test_missing_service_gives_no_credentials():
    found = read([ACCOUNT], None)
    assert isinstance(found, Missing)
    assert "Service" in found.message


@pytest.mark.parametrize("password", ["p@ss:word/?#[]%", "a b", "ünï", "'\"`$(x)", "postgresql://x:y@z/"])
def test_connection_string_encodes_any_password(password):
    connection = Connection("db.example", 6432, "my/db", "us@er", password)
    assert parse_url(connection.url) == connection
    assert connection.environment["PGPASSWORD"] == password
    assert password not in repr(connection)


def test_url_has_every_part():
    assert Connection("h", 5432, "postgres", "postgres", "pw").url == "postgresql://postgres:pw@h:5432/postgres"
    assert Connection("::1", 1, "d", "u", "p").url == "postgresql://u:p@[::1]:1/d"


@pytest.mark.parametrize(
    "url",
    ["", "undefined", "mysql://u:p@h/d", "postgresql://h/d", "postgresql://u@h/d", "postgresql://u:p@h", "http://["],
)
def test_incomplete_url_is_refused_without_being_quoted(url):
    with pytest.raises(InvalidConnectionError) as caught:
        parse_url(url)
    assert "undefined" not in str(caught.value)


def test_digest_depends_on_each_value_and_the_key():
    one, two = {"A": "1", "B": "2"}, {"A": "1", "B": "3"}
    assert environment_digest(one, "k") == environment_digest(dict(reversed(one.items())), "k")
    assert environment_digest(one, "k") != environment_digest(two, "k")
    assert environment_digest(one, "k") != environment_digest(one, "l")
