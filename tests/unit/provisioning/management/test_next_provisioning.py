"""Checks of doctor and dry runs whether a cluster can take the next project, on an embedded API server."""

import time
from email.utils import formatdate

import pytest
import yaml

from devcluster.apiserver.http.server import ApiServer
from devcluster.cluster import build_kubeconfig
from provisioning.kube.client import connect
from provisioning.management.doctor import examine
from provisioning.management.findings import Verdict
from tests.factories import ProjectFactory
from tests.support.api_server import ADMIN_TOKEN, NOBODY_TOKEN, running
from tests.support.commands import run
from tests.unit.provisioning.kube.tls_servers import api_server

pytestmark = pytest.mark.django_db

APPS, DATA = "apps.kubeblocks.io", "dataprotection.kubeblocks.io"
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
DEFINITIONS = (
    (APPS, "v1", "ClusterDefinition"),
    (APPS, "v1", "ComponentVersion"),
    (APPS, "v1alpha1", "ClusterVersion"),
    (DATA, "v1alpha1", "BackupRepo"),
    (APPS, "v1", "ComponentDefinition"),
)
ENFORCE = "pod-security.kubernetes.io/enforce"
SERVED = "postgresql-16-1.0.2"


def definition(group, version, kind):
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def path_of(group, version, kind):
    plural = "storageclasses" if kind == "StorageClass" else f"{kind.lower()}s"
    return f"/apis/{group}/{version}/{plural}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An API server that serves what KubeBlocks serves, and has nothing of it yet."""
    with running(tmp_path_factory.mktemp("api")) as api:
        for each in DEFINITIONS:
            api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(*each))
        yield api


@pytest.fixture
def api(server, tmp_path, use_cluster, settings):
    """The server with everything that a project needs, and the panel on it; what a test adds goes with it."""
    settings.EMBEDDED_CLUSTER, settings.SANDBOX_IMAGE = False, "127.0.0.1:1/app:1"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(build_kubeconfig(server.access.url, ADMIN_TOKEN))
    use_cluster(kubeconfig)
    definition, component_version, _, repository, component = DEFINITIONS
    there = {
        definition: named(
            "postgresql",
            spec={"topologies": [{"name": "replication", "components": [{"compDef": "postgresql-"}]}]},
        ),
        component_version: named(
            "postgresql",
            spec={
                "releases": [{"name": "16.4.0-1.0.2", "serviceVersion": "16.4.0"}],
                "compatibilityRules": [{"releases": ["16.4.0-1.0.2"], "compDefs": ["^postgresql-16.*$"]}],
            },
        ),
        component: named(SERVED, spec={"runtime": {"containers": [{"name": "postgresql"}]}}),
        repository: named("s3"),
        ("storage.k8s.io", "v1", "StorageClass"): named(
            "standard", annotations=DEFAULT, provisioner="example.com/disk"
        ),
    }
    for (group, version, kind), item in there.items():
        server.create(path_of(group, version, kind), {"apiVersion": f"{group}/{version}", "kind": kind, **item})
    yield server
    namespaced = [f"/api/v1/namespaces/default/{plural}" for plural in ("resourcequotas", "limitranges")]
    server.merge("/api/v1/namespaces/default", {"metadata": {"labels": {ENFORCE: None}}})
    for path in [*(path_of(*each) for each in there), *namespaced]:
        for item in server.get(path).body.get("items") or []:
            server.delete(f"{path}/{item['metadata']['name']}")


def named(name, annotations=None, **more):
    return {"metadata": {"name": name, "annotations": annotations or {}}, **more}


def found():
    return {finding.subject: finding for finding in examine()}


def test_complete_cluster_passes(api):
    findings = found()
    for subject in ("clock", "namespace", "quota", "limits", "storage", "version", "pod security", "backups"):
        assert findings[subject].verdict is Verdict.OK, findings[subject]
    assert "None of the BackupRepos (s3) is the default" in findings["backups"].message


def test_checks_leave_no_object(api):
    found()
    assert api.get("/apis/apps.kubeblocks.io/v1/namespaces/default/clusters").body["items"] == []
    assert api.get("/api/v1/namespaces/default/secrets").body["items"] == []


def quota(api, **hard):
    path = "/api/v1/namespaces/default/resourcequotas"
    api.create(path, {"metadata": {"name": "limits"}, "spec": {"hard": hard}})


def limit_range(api, **limit):
    path = "/api/v1/namespaces/default/limitranges"
    api.create(path, {"metadata": {"name": "limits"}, "spec": {"limits": [limit]}})


MISSING = {
    "namespace": (
        lambda api, settings: setattr(settings, "KUBE_NAMESPACE", "nowhere"),
        "namespace",
        "The namespace nowhere does not exist",
    ),
    "named class": (
        lambda api, settings: setattr(settings, "DATABASE_STORAGE_CLASS", "fast"),
        "storage",
        "There is no StorageClass fast. There are: standard. Set DATABASE_STORAGE_CLASS",
    ),
    "class of sandboxes": (
        lambda api, settings: setattr(settings, "SANDBOX_STORAGE_CLASS", "fast"),
        "storage",
        "Set SANDBOX_STORAGE_CLASS",
    ),
    "default class": (
        lambda api, settings: api.delete("/apis/storage.k8s.io/v1/storageclasses/standard"),
        "storage",
        "No StorageClass is the default. There is none.",
    ),
    "version": (
        lambda api, settings: setattr(settings, "POSTGRES_VERSION", "17.2.0"),
        "version",
        "The addon offers no PostgreSQL 17.2.0, but 16.4.0. Set POSTGRES_VERSION",
    ),
    "component version": (
        lambda api, settings: api.delete(f"{path_of(*DEFINITIONS[1])}/postgresql"),
        "version",
        "There is no ComponentVersion postgresql",
    ),
    "addon": (
        lambda api, settings: api.delete(f"{path_of(*DEFINITIONS[0])}/postgresql"),
        "version",
        "There is no ClusterDefinition postgresql",
    ),
    "component definition": (
        lambda api, settings: api.delete(f"{path_of(*DEFINITIONS[4])}/{SERVED}"),
        "version",
        "No ComponentDefinition fits PostgreSQL 16.4.0",
    ),
    "limits of containers": (
        lambda api, settings: limit_range(api, type="Container", max={"memory": "256Mi"}),
        "limits",
        "The LimitRange limits: a database has limits.memory",
    ),
    "limits of volumes": (
        lambda api, settings: limit_range(api, type="PersistentVolumeClaim", max={"storage": "1Mi"}),
        "limits",
        "the volume of a database has storage",
    ),
    "pod security of databases": (
        lambda api, settings: api.merge(
            "/api/v1/namespaces/default", {"metadata": {"labels": {ENFORCE: "restricted"}}}
        ),
        "pod security",
        f"refuses the Pods of the ComponentDefinition {SERVED}: allowPrivilegeEscalation isn't false",
    ),
    "room for pods": (lambda api, settings: quota(api, pods="1"), "quota", "limits leaves 1 of 1 pods"),
    "room for memory": (
        lambda api, settings: quota(api, **{"limits.memory": "512Mi"}),
        "quota",
        "leaves 512Mi of 512Mi limits.memory, and a project needs 1Gi",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_requirement_is_a_failure_with_a_remedy(api, settings, name):
    spoil, subject, said = MISSING[name]
    spoil(api, settings)
    finding = found()[subject]
    assert finding.verdict is Verdict.FAILED
    assert said in finding.message


def test_dry_run_of_provision_reports_the_same(api, settings):
    ran = run("provision", "new-one", "--dry-run")
    assert ran.code == 0
    assert [
        line.partition(":")[2].partition(":")[0] for line in ran.err.splitlines() if line.startswith("warning")
    ] == [" image"]
    assert "failed:" not in ran.err
    settings.POSTGRES_VERSION = "17.2.0"
    quota(api, pods="1")
    ran = run("provision", "new-one", "another", "--dry-run", "--json")
    assert ran.code == 0
    assert ran.err.count("failed: version: The addon offers no PostgreSQL 17.2.0") == 1
    assert "failed: quota: The ResourceQuota limits leaves 1 of 1 pods" in ran.err
    assert len(ran.out.splitlines()) == 2


def test_unreadable_requirement_is_reported(api, tmp_path, use_cluster):
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(build_kubeconfig(api.access.url, NOBODY_TOKEN))
    use_cluster(kubeconfig)
    findings = found()
    for subject in ("quota", "limits", "storage", "version", "backups"):
        assert findings[subject].verdict is Verdict.WARNING
        assert findings[subject].message.startswith("Unknown: no right to list ")
    assert findings["pod security"].message == "Unknown: no right to get the namespace default."
    assert findings["namespace"].verdict is Verdict.FAILED
    assert "would be refused" in findings["namespace"].message


def test_each_allowed_namespace_without_permissions_is_named(api, tmp_path, use_cluster, settings):
    settings.ALLOWED_NAMESPACES = ["team-a"]
    assert found()["permissions"].message.endswith("permissions that it uses in default, team-a.")
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(build_kubeconfig(api.access.url, NOBODY_TOKEN))
    use_cluster(kubeconfig)
    permissions = found()["permissions"]
    assert permissions.verdict is Verdict.FAILED
    for namespace in ("default", "team-a"):
        assert f"in namespace {namespace}" in permissions.message


def test_projects_in_a_namespace_that_is_not_allowed_are_reported(api):
    assert "namespaces" not in found()
    ProjectFactory.create(namespace="former")
    ProjectFactory.create(namespace="gone", deleted=True)
    finding = found()["namespaces"]
    assert finding.verdict is Verdict.WARNING
    assert "not allowed: former. They" in finding.message


@pytest.mark.parametrize(
    ("ahead_s", "verdict", "said"),
    [
        (0, Verdict.OK, "agree"),
        (30, Verdict.WARNING, "ahead of this one"),
        (-30, Verdict.WARNING, "behind this one"),
        (4000, Verdict.FAILED, "ahead of this one"),
    ],
)
def test_clock_difference_is_reported(api, monkeypatch, ahead_s, verdict, said):
    monkeypatch.setattr(
        "aiohttp.web_response.rfc822_formatted_time", lambda: formatdate(time.time() + ahead_s, usegmt=True)
    )
    clock = found()["clock"]
    assert clock.verdict is verdict
    assert said in clock.message


def test_missing_date_header_is_no_failure(use_cluster, tmp_path):
    with api_server(None) as stub:
        kubeconfig = tmp_path / "stub"
        content = yaml.safe_load(build_kubeconfig(f"http://127.0.0.1:{stub.port}", "token"))
        kubeconfig.write_text(yaml.safe_dump(content))
        use_cluster(kubeconfig)
        assert abs(connect().clock_skew_s() or 0) < 5


def test_embedded_cluster_needs_no_classes_and_versions(api, settings):
    settings.EMBEDDED_CLUSTER = True
    assert not {"storage", "version", "backups"} & found().keys()
    assert isinstance(api.server, ApiServer)


def test_further_allowed_namespaces_are_examined(api, settings):
    settings.ALLOWED_NAMESPACES = ["nowhere"]
    finding = found()["namespace of nowhere"]
    assert finding.verdict is Verdict.FAILED
    assert "The namespace nowhere does not exist. Create it" in finding.message
    assert found()["namespace"].verdict is Verdict.OK
