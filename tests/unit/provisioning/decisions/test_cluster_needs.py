"""What a cluster lacks for the next project: quotas, storage classes, versions of the addon."""

from decimal import Decimal

import pytest

from provisioning.decisions.cluster_needs import (
    build_demand,
    describe_repositories,
    find_missing_class,
    find_missing_definition,
    find_missing_legacy_version,
    find_missing_version,
    find_shortages,
)
from provisioning.objects.manifests import CLUSTER_V1, CLUSTER_V1ALPHA1, DatabaseSpec, SandboxSpec

DATABASE = DatabaseSpec("16.4.0", "postgresql-14.8.0", "500m", "512Mi", "3Gi", "fast")
SANDBOX = SandboxSpec("web:1", {"app": 3000, "admin": 3001}, "1", "1Gi", "10Gi", "fast", domain="example.com")
DEMAND = build_demand(DATABASE, SANDBOX)


def quota(hard, used=None, **spec):
    return {
        "metadata": {"name": "limits"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


def named(name, **more):
    return {"metadata": {"name": name}, **more}


@pytest.mark.parametrize(
    ("resource", "amount"),
    [
        ("limits.cpu", "1.5"),
        ("requests.cpu", "0.55"),
        ("memory", str((512 + 64) * 2**20)),
        ("limits.memory", str((512 + 1024) * 2**20)),
        ("requests.storage", str(13 * 2**30)),
        ("fast.storageclass.storage.k8s.io/requests.storage", str(13 * 2**30)),
        ("fast.storageclass.storage.k8s.io/persistentvolumeclaims", "2"),
        ("count/ingresses.networking.k8s.io", "2"),
        ("pods", "2"),
    ],
)
def test_demand_of_one_project(resource, amount):
    assert DEMAND[resource] == Decimal(amount)


@pytest.mark.parametrize(
    ("hard", "used", "said"),
    [
        ({"pods": "10"}, {"pods": "9"}, "limits leaves 1 of 10 pods, and a project needs 2"),
        ({"requests.cpu": "4"}, {"requests.cpu": "3800m"}, "leaves 200m of 4 requests.cpu, and a project needs 550m"),
        (
            {"limits.memory": "2Gi"},
            {"limits.memory": "1Gi"},
            "leaves 1Gi of 2Gi limits.memory, and a project needs 1536Mi",
        ),
        ({"requests.storage": "100Gi"}, {"requests.storage": "95Gi"}, "leaves 5Gi of 100Gi requests.storage"),
        ({"count/clusters.apps.kubeblocks.io": "0"}, None, "leaves 0 of 0 count/clusters.apps.kubeblocks.io"),
        ({"fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1"}, None, "persistentvolumeclaims"),
        ({"services": "3"}, {"services": "5"}, "leaves 0 of 3 services"),
        # Used up at the start, before the quota controller has counted anything.
        ({"secrets": "1"}, {}, "leaves 1 of 1 secrets"),
    ],
)
def test_shortage_is_reported_with_its_figures(hard, used, said):
    (shortage,) = find_shortages([quota(hard, used)], DEMAND)
    assert said in shortage


@pytest.mark.parametrize(
    "item",
    [
        quota({"pods": "10"}, {"pods": "8"}),
        quota({"requests.cpu": "550m"}),
        quota({"pods": "0"}, scopes=["BestEffort"]),
        quota({"pods": "0"}, scopeSelector={"matchExpressions": []}),
        quota({"slow.storageclass.storage.k8s.io/requests.storage": "0"}),
        quota({"requests.nvidia.com/gpu": "0"}),
        quota({"pods": "nonsense"}),
        {"metadata": {}, "spec": None, "status": []},
    ],
)
def test_sufficient_quota_is_no_shortage(item):
    assert find_shortages([item], DEMAND) == []


DEFAULT = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}


@pytest.mark.parametrize(
    ("classes", "wanted", "said"),
    [
        ([named("fast")], "fast", ""),
        ([{"metadata": {"name": "fast", **DEFAULT}}], "", ""),
        ([named("fast")], "slow", "There is no StorageClass slow. There are: fast."),
        ([named("fast")], "", "No StorageClass is the default. There are: fast."),
        ([], "", "No StorageClass is the default. There is none."),
    ],
)
def test_missing_storage_class_is_reported(classes, wanted, said):
    assert find_missing_class(classes, wanted).startswith(said) if said else not find_missing_class(classes, wanted)


def component_version(*versions, phase="Available", name="postgresql"):
    return named(name, spec={"releases": [{"serviceVersion": one} for one in versions]}, status={"phase": phase})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([component_version("12.14.0", "16.4.0")], ""),
        (
            [component_version("12.14.0", "15.7.0", "9.6.1")],
            "offers no PostgreSQL 16.4.0, but 9.6.1, 12.14.0, 15.7.0.",
        ),
        ([component_version("16.4.0", phase="Unavailable")], "is not available"),
        ([component_version("16.4.0", name="redis")], "install KubeBlocks' PostgreSQL addon"),
        ([named("postgresql", spec={"releases": "none"})], "offers no PostgreSQL 16.4.0"),
        ([], "install KubeBlocks' PostgreSQL addon"),
    ],
)
def test_unavailable_version_is_reported(found, said):
    assert said in find_missing_version(found, "16.4.0")
    assert bool(find_missing_version(found, "16.4.0")) == bool(said)


def test_versions_of_older_kubeblocks():
    found = [named("postgresql-12.14.0"), named("postgresql-14.8.0"), named("redis-7.0.6")]
    assert find_missing_legacy_version(found, "postgresql-14.8.0") == ""
    missing = find_missing_legacy_version(found, "postgresql-15.7.0")
    assert "no ClusterVersion postgresql-15.7.0, but postgresql-12.14.0, postgresql-14.8.0." in missing
    assert "redis" not in missing
    assert "none of PostgreSQL" in find_missing_legacy_version([], "postgresql-14.8.0")


@pytest.mark.parametrize(
    ("found", "api_version", "said"),
    [
        ([named("postgresql", spec={"topologies": [{"name": "replication"}]})], CLUSTER_V1, ""),
        ([named("postgresql", spec={})], CLUSTER_V1ALPHA1, ""),
        ([named("postgresql", spec={"topologies": [{"name": "standalone"}]})], CLUSTER_V1, "no topology `replication`"),
        ([named("postgresql", status={"phase": "Deleting"})], CLUSTER_V1ALPHA1, "is not available"),
        ([named("mysql")], CLUSTER_V1, "There is no ClusterDefinition postgresql"),
    ],
)
def test_missing_cluster_definition_is_reported(found, api_version, said):
    assert said in find_missing_definition(found, api_version)
    assert bool(find_missing_definition(found, api_version)) == bool(said)


def test_backup_repositories_are_described():
    default = {"annotations": {"dataprotection.kubeblocks.io/is-default-repo": "true"}}
    ready = {"metadata": {"name": "s3", **default}, "status": {"phase": "Ready"}}
    assert describe_repositories([ready]) == "Backups go to the BackupRepo s3, which is Ready."
    assert describe_repositories([named("s3")]) == "None of the BackupRepos (s3) is the default."
    assert describe_repositories([ready, {"metadata": {"name": "nfs", **default}}]).startswith("2 of the BackupRepos")
    assert "can't be backed up" in describe_repositories([])
