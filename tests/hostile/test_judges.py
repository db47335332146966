"""Pure functions that judge a cluster's objects, with any object: each result can be stored and shown."""

import shlex
from datetime import UTC, datetime
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from projects.confidential.redaction import one_line
from projects.domain.connection import Connection, parse_url
from provisioning.decisions.cluster_state import (
    explain_kept,
    explain_stopped,
    explain_unattended,
    is_rolled_out,
    is_stopped,
    is_unattended,
)
from provisioning.decisions.pods import (
    explain_claim,
    explain_missing_role,
    explain_pod,
    find_culprit,
    find_unbound_claim,
    latest_warning,
)
from provisioning.decisions.readiness import Readiness, judge_cluster, judge_sandbox
from provisioning.inventory.clusters import explain_obstacle, read_facts
from provisioning.objects.credentials import (
    Missing,
    choose_secret,
    component_of,
    endpoint_of,
    is_complete,
    read_connection,
)
from provisioning.objects.endpoints import read_endpoint
from provisioning.objects.names import read_existing_cluster
from provisioning.watch.streams import WATCHED_KINDS
from tests.hostile import answers
from tests.hostile.strategies import examples, json_values, mutated, texts

ANYTHING = json_values().filter(lambda value: isinstance(value, dict)) | mutated(
    answers.cluster(),
    answers.deleting_cluster(),
    answers.secret(),
    answers.legacy_secret(),
    answers.service(),
    answers.statefulset(),
    answers.pod(),
)
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
CLUSTERS = mutated(answers.cluster(), answers.cluster(phase="Failed"), answers.deleting_cluster()) | ANYTHING


def assert_presentable(text: str, limit: int) -> None:
    """Assert that a row, a terminal and a log line can contain the text."""
    assert len(text) <= limit
    assert text.isprintable(), ascii(text[:200])
    text.encode()


def assert_storable(seen: Readiness) -> None:
    assert_presentable(seen.message, 3000)
    assert_presentable(seen.phase, 500)
    assert_presentable(seen.uid, 64)
    assert_presentable(seen.owner or "", 63)
    assert_presentable(seen.environment_digest, 1000)
    assert 0 <= seen.generation < 2**63
    assert 0 <= seen.observed_generation < 2**63


@given(texts(500), st.integers(1, 600))
def test_one_line_has_no_control_characters_and_a_limit(text, limit):
    assert_presentable(one_line(text, limit), limit)


def test_one_line_keeps_ordinary_text():
    assert one_line("  Grüße,\n\t世界 🦄 – fine ", 100) == "Grüße, 世界 🦄 – fine"


@examples(120)
@given(CLUSTERS)
def test_any_cluster_is_judged(cluster):
    assert_storable(judge_cluster(cluster))
    is_stopped(cluster), is_rolled_out(cluster), is_unattended(cluster, NOW)
    for text in (explain_stopped(cluster), explain_unattended(cluster, NOW), explain_kept(cluster)):
        assert_presentable(text, 1500)
    assert_presentable(component_of(cluster), 500)
    read_existing_cluster(cluster)
    facts = read_facts(cluster)
    for text, limit in ((facts.name, 253), (facts.namespace, 63), (facts.uid, 64), (facts.phase, 30)):
        assert_presentable(text, limit)
    assert_presentable(explain_obstacle(facts, None), 1000)
    if facts.created_at is not None:
        facts.created_at.isoformat()


@examples(80)
@given(mutated(answers.statefulset()) | ANYTHING, mutated(answers.pod()) | ANYTHING)
def test_any_sandbox_is_judged(statefulset, pod):
    assert_storable(judge_sandbox(statefulset))
    assert_presentable(explain_pod(pod, NOW), 2000)


@examples(120)
@given(
    st.lists(mutated(*answers.pods()) | ANYTHING, max_size=3),
    st.lists(mutated(answers.claim()) | ANYTHING, max_size=2),
    st.lists(mutated(answers.event()) | ANYTHING, max_size=3),
)
def test_any_late_workload_is_explained(pods, claims, events):
    found = find_culprit(pods, NOW)
    assert_presentable(found.name, 253)
    assert_presentable(found.why, 2000)
    assert_presentable(explain_missing_role(pods), 1000)
    warning = latest_warning(events)
    assert_presentable(warning, 1500)
    claim = find_unbound_claim(claims)
    assert_presentable(explain_claim(claim or {}, warning), 2500)


@examples(80)
@given(ANYTHING)
def test_any_object_has_a_fingerprint(item):
    for watched in WATCHED_KINDS:
        assert_presentable(watched.fingerprint(item), 3100)
        watched.relay(item)


@examples(150)
@given(
    st.lists(mutated(answers.secret(), answers.legacy_secret()) | ANYTHING, max_size=3),
    st.none() | mutated(answers.service()) | ANYTHING,
)
def test_credentials_are_complete_or_missing(secrets, service):
    choose_secret(secrets, "web", "postgresql")
    for secret in secrets:
        is_complete(secret)
    endpoint_of(service, "default")
    found = read_connection(secrets, service, cluster="web", component="postgresql", namespace="default")
    if isinstance(found, Missing):
        assert_presentable(found.message, 1500)
    else:
        assert_harmless(found)


@examples(150)
@given(
    host=texts() | st.from_regex(r"[a-z.:\[\]@/?#%0-9-]{1,20}", fullmatch=True),
    port=texts() | st.integers(-1, 70000).map(str),
    database=texts(),
    username=texts(),
    password=texts(),
)
def test_secret_injects_nothing_into_a_url_or_shell(host, port, database, username, password):
    values = {"host": host, "port": port, "database": database, "username": username, "password": password}
    secret = answers.legacy_secret()
    secret["data"] |= answers.encoded(**{key: value for key, value in values.items() if value.isprintable()})
    found = read_connection([secret], answers.service(), cluster="web", component="postgresql", namespace="default")
    assert isinstance(found, Connection | Missing)
    if isinstance(found, Connection):
        assert_harmless(found)


def assert_harmless(found: Connection) -> None:
    """Assert that URL and shell lines mean exactly the values, and that a row can store them."""
    assert_presentable(found.host, 253)
    assert_presentable(found.database, 63)
    assert_presentable(found.username, 63)
    parts = urlsplit(found.url)
    assert (parts.hostname, parts.port) == (found.host.lower(), found.port)
    assert not parts.query
    assert not parts.fragment
    assert parse_url(found.url) == Connection(
        found.host.lower(), found.port, found.database, found.username, found.password
    )
    lines = [f"{name}={shlex.quote(value)}" for name, value in found.environment.items()]
    assert all("\n" not in line and line.isascii() | line.isprintable() for line in lines)
    assert shlex.split("\n".join(lines)) == [f"{name}={value}" for name, value in found.environment.items()]


@examples(150)
@given(texts() | st.from_regex(r"[a-z.:\[\]@/?#%0-9-]{1,20}:[0-9]{1,6}", fullmatch=True))
def test_endpoint_is_a_host_and_a_port_or_none(annotation):
    endpoint = read_endpoint(annotation)
    if endpoint is not None:
        host, port = endpoint
        parts = urlsplit(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        assert (parts.hostname, parts.port, parts.path) == (host.lower(), port, "/")
