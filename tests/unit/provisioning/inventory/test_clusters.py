"""The inventory of Clusters: facts, obstacles to adoption, owners, invalid objects."""

from datetime import UTC, datetime
from typing import Any

import pytest

from projects.models import Project
from provisioning.inventory.clusters import explain_obstacle, find_claimant, read_facts, watched_namespaces
from provisioning.objects.credentials import is_complete
from provisioning.objects.names import PROJECT_ID_LABEL, guess_project
from tests.factories import ProjectFactory

CURRENT: dict[str, Any] = {
    "apiVersion": "apps.kubeblocks.io/v1",
    "metadata": {
        "name": "pg",
        "namespace": "default",
        "uid": "u",
        "creationTimestamp": "2026-11-22T15:00:00Z",
        "labels": {"team": "web"},
    },
    "spec": {"clusterDef": "postgresql", "componentSpecs": [{"name": "postgresql", "serviceVersion": "16.4.0"}]},
    "status": {"phase": "Running"},
}
LEGACY: dict[str, Any] = {
    **CURRENT,
    "apiVersion": "apps.kubeblocks.io/v1alpha1",
    "spec": {"clusterDefinitionRef": "postgresql", "clusterVersionRef": "postgresql-14.8.0"},
}


def with_labels(**labels: str) -> dict[str, Any]:
    return {**CURRENT, "metadata": {**CURRENT["metadata"], "labels": labels}}


def test_facts_of_both_generations():
    current, legacy = read_facts(CURRENT), read_facts(LEGACY)
    assert (current.version, current.engine, current.phase) == ("16.4.0", "postgresql", "Running")
    assert (legacy.version, legacy.engine) == ("postgresql-14.8.0", "postgresql")
    assert current.created_at == datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    assert (current.owner, current.is_deleting, current.labels) == (None, False, {"team": "web"})


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metadata": None, "spec": [], "status": "x"},
        {"metadata": {"labels": 1, "creationTimestamp": "yesterday"}, "spec": {"componentSpecs": [None]}},
        {"metadata": {"creationTimestamp": "2026-13-45T99:00:00Z"}},
    ],
)
def test_invalid_cluster_is_read_as_far_as_possible(broken):
    facts = read_facts(broken)
    assert (facts.name, facts.version, facts.created_at, facts.owner) == ("", "", None, None)


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        (CURRENT, ""),
        ({**CURRENT, "spec": {"clusterDef": "mysql"}}, "runs mysql; the panel adopts PostgreSQL only"),
        ({**CURRENT, "spec": {"componentSpecs": [{"componentDef": "postgresql-16-1.0.0"}]}}, ""),
        ({**CURRENT, "spec": {}}, ""),
        ({**CURRENT, "metadata": {"name": "x" * 64}}, "more than 63 characters"),
        ({**CURRENT, "metadata": {"name": "pg", "deletionTimestamp": "now"}}, "is being deleted"),
        (with_labels(**{PROJECT_ID_LABEL: "no-uid"}), "has the label of a project, which this panel does not know"),
    ],
)
def test_obstacles_to_adoption(cluster, sentence):
    obstacle = explain_obstacle(read_facts(cluster), None)
    assert sentence in obstacle
    assert bool(obstacle) == bool(sentence)


@pytest.mark.django_db
def test_claim_of_a_deleted_project_is_an_obstacle():
    project, gone = ProjectFactory.create(), ProjectFactory.create(name="gone", deleted=True)
    for row, sentence in ((project, ""), (gone, "the label of the project gone, which is deleted")):
        facts = read_facts(with_labels(**{PROJECT_ID_LABEL: str(row.uid)}))
        claimant = find_claimant(facts)
        assert claimant == row
        obstacle = explain_obstacle(facts, claimant)
        assert sentence in obstacle
        assert bool(obstacle) == bool(sentence)
    assert find_claimant(read_facts(with_labels(**{PROJECT_ID_LABEL: "no-uid"}))) is None


@pytest.mark.django_db
def test_namespaces_of_current_projects_are_listed(settings):
    settings.KUBE_NAMESPACE = "databases"
    ProjectFactory.create(namespace="shop")
    ProjectFactory.create(namespace="old", deleted=True)
    assert watched_namespaces() == ["databases", "shop"]
    assert Project.objects.count() == 2


@pytest.mark.parametrize(
    ("name", "labels", "project"),
    [
        ("pg", {}, ""),
        ("shop-agentruntime-abc123", {}, "shop"),
        ("shop-agentruntime-abc123", {"project.fullstackagent.io/name": "blog"}, "blog"),
        ("pg", {"app.kubernetes.io/part-of": "blog"}, "blog"),
        ("pg", {"project.fullstackagent.io/name": ""}, ""),
    ],
)
def test_owner_of_a_cluster(name, labels, project):
    assert guess_project(name, labels) == project


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        ({"username": "cG9zdGdyZXM=", "password": "c2VjcmV0"}, True),
        ({"username": "cG9zdGdyZXM=", "password": ""}, False),
        ({"username": "cG9zdGdyZXM=", "password": "dW5kZWZpbmVk"}, False),
        ({"password": "c2VjcmV0"}, False),
        (None, False),
    ],
)
def test_completeness_of_a_secret(data, complete):
    assert is_complete({"data": data}) is complete
