"""Kubernetes names of projects and databases, and the choice of a project's existing Cluster."""

import re
import uuid

import pytest

from projects.domain.naming import InvalidNameError, clean_name, kubernetes_name, legacy_name
from provisioning.objects.names import (
    LEGACY_PROJECT_LABEL,
    PROJECT_ID_LABEL,
    AmbiguousClusterError,
    ExistingCluster,
    build_database_name,
    build_sandbox_name,
    explain_not_found,
    find_existing_cluster,
    is_derived,
)

UID = uuid.UUID("11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My-Project", "my-project"),
        ("Shop API", "shop-api"),
        ("Test_Project_123", "test-project-123"),
        ("v2.1 beta", "v2-1-beta"),
        ("a - b _ c", "a-b-c"),
        ("x" * 19 + " y", "x" * 19),
        ("special!@#$%chars", "specialchars"),
        ("aaa", "aaa"),
        # Where the predecessor's were no names at all.
        ("-lead-and-trail-", "lead-and-trail"),
        ("a-very-long-project-name-indeed", "a-very-long-project"),
        ("Café Zürich", "cafe-zurich"),
        ("2026 budget", "p-2026-budget"),
    ],
)
def test_kubernetes_name_is_derived_from_the_name(name, expected):
    assert kubernetes_name(name) == expected
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", expected)
    assert len(expected) <= 20


def test_legacy_name_is_cut():
    assert legacy_name("a-very-long-project-name-indeed") == "a-very-long-project-"
    assert legacy_name("проект") == ""


def test_legacy_name_drops_separators():
    assert legacy_name("Test_Project_123") == "testproject123"
    assert legacy_name("Shop API") == "shopapi"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("x" * 300, "300 characters"),
        ("проект", "no letter a-z"),
        ("💥", "💥"),
        ("../x", "/"),
        ("..", "start with a letter or a digit"),
        ("<script>alert(1)</script>", "<"),
        ("a: [b]", ":"),
        ("$(reboot)", "$"),
        ("a;b", ";"),
        ("a\x00b", "U+0000"),
        ("a\u202eb", "U+202E"),
        ("---", "start with a letter or a digit"),
    ],
)
def test_invalid_name_is_explained(name, says):
    with pytest.raises(InvalidNameError) as caught:
        clean_name(name)
    assert says in str(caught.value)
    assert str(caught.value).endswith(".")


def test_name_keeps_its_case_without_extra_spaces():
    assert clean_name("  Web   Shop_2.0 ") == "Web Shop_2.0"


@pytest.mark.parametrize("project", ["aaa", "a-very-long-project", "exactly-ten-", "abcdefghi-j"])
def test_database_name_fits_the_limits_of_kubeblocks(project):
    name = build_database_name(project)
    assert len(name) <= 30
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert re.search(r"[^-]-agentruntime-[a-z0-9]{6}$", name)


def test_database_name_of_a_short_project_has_the_legacy_form():
    assert build_database_name("aaa", "cram74") == "aaa-agentruntime-cram74"


def test_names_are_unique():
    assert len({build_database_name("aaa") for _ in range(50)}) == 50
    assert len({build_sandbox_name("aaa") for _ in range(50)}) == 50


def cluster(name, *, is_deleting=False, **labels):
    return ExistingCluster(name, labels, is_deleting=is_deleting)


def find(*clusters, raw_name="aaa", taken=()):
    found = find_existing_cluster(
        clusters, kubernetes_name=kubernetes_name(raw_name), raw_name=raw_name, uid=UID, taken=taken
    )
    return found and found.name


OURS = {PROJECT_ID_LABEL: str(UID)}
LEGACY = {LEGACY_PROJECT_LABEL: "aaa"}
PREFIXED, NAMED = cluster("aaa-agentruntime-cram74"), cluster("aaa")


def test_label_of_the_panel_is_preferred():
    assert find(NAMED, PREFIXED, cluster("zzz", **LEGACY), cluster("yyy", **OURS)) == "yyy"


def test_legacy_label_comes_second():
    assert find(NAMED, PREFIXED, cluster("aaa-abcdefgh", **LEGACY)) == "aaa-abcdefgh"


def test_legacy_name_patterns_come_last():
    assert find(NAMED, PREFIXED) == "aaa-agentruntime-cram74"
    assert find(NAMED, cluster("other")) == "aaa"
    assert find(cluster("raw.name"), raw_name="raw.name") == "raw.name"


def test_other_clusters_are_filtered_out():
    assert find(cluster("bazi"), cluster("fullstackagent"), cluster("aaab"), cluster("aaa-x")) is None


def test_cluster_of_another_project_is_not_chosen():
    stranger = {PROJECT_ID_LABEL: str(uuid.uuid4())}
    assert find(cluster("aaa", **stranger), cluster("aaa-agentruntime-cram74", **stranger)) is None
    assert find(NAMED, taken=["aaa"]) is None


def test_cluster_being_deleted_is_not_chosen():
    assert find(cluster("aaa", is_deleting=True)) is None


def test_equal_matches_are_ambiguous():
    with pytest.raises(AmbiguousClusterError) as caught:
        find(PREFIXED, cluster("aaa-agentruntime-zzzzzz"))
    assert "aaa-agentruntime-cram74, aaa-agentruntime-zzzzzz" in str(caught.value)
    assert "adopt" in str(caught.value)


def test_message_for_an_unknown_project():
    assert explain_not_found("aaa", "aaa", ["fullstackagent", "bazi"]) == (
        "No database cluster found for project aaa (k8s name: aaa). Available clusters: bazi, fullstackagent"
    )
    many = explain_not_found("aaa", "aaa", (f"c{number:03}" for number in reversed(range(1000))))
    assert many.endswith("Available clusters: c000, c001, c002, c003, c004, c005 and 994 more")
    assert explain_not_found("aaa", "aaa", []).endswith("Available clusters: none")


KUBEBLOCKS_OWNER = {"apiVersion": "apps.kubeblocks.io/v1", "kind": "Component", "name": "pg1-postgresql"}


@pytest.mark.parametrize(
    ("name", "owners", "expected"),
    [
        ("pg1-postgresql-account-postgres", [], True),
        ("pg1-conn-credential", [], True),
        ("data-pg1-postgresql-0", [], True),
        ("pg1-postgresql-tls-certs", [KUBEBLOCKS_OWNER], True),
        # Copies of a person, and objects of a Helm release that is called like the Cluster.
        ("pg1-postgresql-account-postgres-copy", [], False),
        ("backup-of-pg1-conn-credential", [], False),
        ("sh.helm.release.v1.pg1.v1", [], False),
        ("data-pg1-redis", [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "pg1-redis"}], False),
        ("pg10-postgresql-account-postgres", [], False),
    ],
)
def test_objects_that_go_with_a_cluster_are_recognized(name, owners, expected):
    assert is_derived({"metadata": {"name": name, "ownerReferences": owners}}, "pg1") is expected
