"""A state belongs to one cluster: in another one nothing is read, changed or judged missing."""

import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from devcluster.cluster import EmbeddedCluster, build_kubeconfig
from projects.domain.states import Phase, Reason
from projects.models import FoundCluster, Inventory, Project
from projects.services.provisioning import request_delete
from provisioning.decisions.cluster_identity import KUBE_SYSTEM
from provisioning.identity import OtherClusterError, connect_to_own_cluster, prove_own_cluster, read_recorded
from provisioning.inventory.clusters import take_inventory
from provisioning.kube.client import connect, disconnect
from provisioning.management.doctor import examine
from provisioning.management.findings import Finding, Verdict
from provisioning.models import ClusterIdentity
from provisioning.reconcile.loop import run_pass
from provisioning.watch.streams import WATCHED_KINDS, Stream
from tests.factories import DatabaseFactory, ProjectFactory
from tests.support.api_server import ADMIN_TOKEN, NOBODY_TOKEN, ServerApi, running
from tests.support.cluster_objects import delete_cluster

pytestmark = pytest.mark.django_db

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerApi]:
    """Another cluster, which has nothing."""
    with running(tmp_path_factory.mktemp("other")) as api:
        yield api


@pytest.fixture
def use_other(other: ServerApi, tmp_path: Path, use_cluster: Callable[[Path], None]) -> Callable[[], None]:
    """Return a function that connects the panel to the other cluster, with the same state."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(build_kubeconfig(other.access.url, ADMIN_TOKEN))
    return lambda: use_cluster(kubeconfig)


def reread(project: Project) -> Project:
    return Project.objects.with_resources().get(pk=project.pk)


def identity_finding() -> Finding:
    (found,) = [finding for finding in examine() if finding.subject == "cluster identity"]
    return found


def test_running_project_is_not_judged_in_another_cluster(
    provisioned: Project, cluster: EmbeddedCluster, use_other: Callable[[], None], use_cluster: Callable[[Path], None]
) -> None:
    assert provisioned.database is not None
    use_other()
    run_pass(provisioned.pk)
    project = reread(provisioned)
    assert (project.phase, project.reason) == (Phase.RUNNING, Reason.OTHER_CLUSTER)
    assert "is not the one that the panel's state belongs to" in project.message
    assert project.database is not None
    assert (project.database.pk, project.database.phase) == (provisioned.database.pk, Phase.RUNNING)

    use_cluster(cluster.kubeconfig)
    run_pass(provisioned.pk)
    assert (reread(provisioned).phase, reread(provisioned).reason) == (Phase.RUNNING, Reason.READY)


def test_deletion_is_not_finished_in_another_cluster(
    provisioned: Project, use_other: Callable[[], None], other: ServerApi
) -> None:
    request_delete(provisioned, actor="tester")
    use_other()
    for _ in range(3):
        run_pass(provisioned.pk)
    assert (reread(provisioned).phase, reread(provisioned).reason) == (Phase.DELETING, Reason.OTHER_CLUSTER)


def test_nothing_is_created_in_another_cluster(
    provisioned: Project, use_other: Callable[[], None], other: ServerApi
) -> None:
    waiting = ProjectFactory.create(waiting=True)
    use_other()
    run_pass(waiting.pk)
    assert reread(waiting).reason == Reason.OTHER_CLUSTER
    assert other.get("/apis/apps.kubeblocks.io/v1/namespaces/default/clusters").body["items"] == []


def test_watch_inventory_and_commands_refuse_another_cluster(
    provisioned: Project, use_other: Callable[[], None]
) -> None:
    kept = FoundCluster.objects.create(namespace="default", name="pg", uid="u", seen_at=timezone.now())
    use_other()
    stream = Stream(WATCHED_KINDS[0], "default", threading.Event())
    with pytest.raises(OtherClusterError):
        stream._follow()
    take_inventory(timezone.now())
    assert "is not the one" in Inventory.objects.get().trouble
    assert FoundCluster.objects.filter(pk=kept.pk).exists()
    for command in (("plan", provisioned.name), ("adopt", "new", "--cluster", "pg")):
        with pytest.raises(CommandError, match="is not the one that the panel's state belongs to"):
            call_command(*command, stdout=StringIO())
    finding = identity_finding()
    assert finding.verdict is Verdict.FAILED
    assert "accept_cluster" in finding.message
    assert "kubeblocks" not in [found.subject for found in examine()]


def test_missing_cluster_is_compared_again_however_recent_the_comparison_is(provisioned: Project) -> None:
    assert provisioned.database is not None
    delete_cluster(provisioned.database.name)
    connect_to_own_cluster()
    ClusterIdentity.objects.filter(namespace=KUBE_SYSTEM).update(uid="of-the-cluster-before")
    connect_to_own_cluster()
    run_pass(provisioned.pk)
    assert reread(provisioned).reason == Reason.OTHER_CLUSTER


def test_state_is_moved_on_purpose_and_audited(provisioned: Project, use_other: Callable[[], None]) -> None:
    use_other()
    err = StringIO()
    with pytest.raises(CommandError, match="add --yes"):
        call_command("accept_cluster", stderr=err)
    call_command("accept_cluster", "--dry-run", stderr=err)
    assert "Of 1 databases that the panel has recorded, 0 are in the cluster" in err.getvalue()
    run_pass(provisioned.pk)
    assert reread(provisioned).reason == Reason.OTHER_CLUSTER

    out = StringIO()
    call_command("accept_cluster", "--yes", stdout=out, stderr=StringIO())
    assert "belongs to the cluster at" in out.getvalue()
    assert LogEntry.objects.filter(additional_data__what="ClusterAccepted").count() == 1
    assert identity_finding().verdict is Verdict.OK
    run_pass(provisioned.pk)
    assert reread(provisioned).reason == Reason.CLUSTER_MISSING, "now it is true"

    call_command("accept_cluster", "--yes", stdout=out)
    assert "already belongs" in out.getvalue()


def test_unused_state_accepts_any_cluster(cluster: EmbeddedCluster, use_other: Callable[[], None]) -> None:
    ProjectFactory.create()
    connect_to_own_cluster()
    before = read_recorded()
    use_other()
    connect_to_own_cluster()
    assert read_recorded()[KUBE_SYSTEM] != before[KUBE_SYSTEM]


def test_recreated_namespace_of_the_same_cluster_is_followed(provisioned: Project) -> None:
    connect_to_own_cluster()
    assert read_recorded().keys() == {KUBE_SYSTEM, "default"}
    ClusterIdentity.objects.filter(namespace="default").update(uid="of-the-deleted-one")
    prove_own_cluster(connect(), is_fresh=True)
    assert read_recorded()["default"] != "of-the-deleted-one"


@pytest.fixture
def limited(other: ServerApi, tmp_path: Path, use_cluster: Callable[[Path], None]) -> Iterator[Callable[[], None]]:
    """Return a function that connects as an account that may get its namespace, and no other."""
    role = {"metadata": {"name": "ns"}, "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}]}
    subject = {"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ns"}
    other.create(f"{RBAC}/namespaces/default/roles", role)
    binding = {"metadata": {"name": "ns"}, "subjects": [subject], "roleRef": ref}
    other.create(f"{RBAC}/namespaces/default/rolebindings", binding)
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(build_kubeconfig(other.access.url, NOBODY_TOKEN))
    yield lambda: use_cluster(kubeconfig)
    other.delete(f"{RBAC}/namespaces/default/rolebindings/ns")
    other.delete(f"{RBAC}/namespaces/default/roles/ns")


def test_account_without_kube_system_compares_the_projects_namespace(limited: Callable[[], None]) -> None:
    limited()
    DatabaseFactory.create()
    connect_to_own_cluster()
    assert read_recorded().keys() == {"default"}
    assert "by the UID of the namespace default" in identity_finding().message
    ClusterIdentity.objects.update(namespace="gone")
    disconnect()
    connect_to_own_cluster()
    assert "gone" in read_recorded(), "that one can't be read, and default was not recorded"
    ClusterIdentity.objects.all().delete()
    ClusterIdentity.objects.create(namespace="default", uid="another")
    disconnect()
    with pytest.raises(OtherClusterError, match="or the namespace was deleted with everything in it"):
        connect_to_own_cluster()


def test_account_that_can_read_no_namespace_is_reported(
    other: ServerApi, tmp_path: Path, use_cluster: Callable[[Path], None]
) -> None:
    kubeconfig = tmp_path / "nobody"
    kubeconfig.write_text(build_kubeconfig(other.access.url, NOBODY_TOKEN))
    use_cluster(kubeconfig)
    finding = identity_finding()
    assert (finding.verdict, finding.message[:8]) == (Verdict.WARNING, "Unknown:")
    connect_to_own_cluster()
    assert read_recorded() == {}


def test_embedded_cluster_keeps_its_identity_with_its_directory(tmp_path: Path) -> None:
    def uid(folder: Path) -> str:
        with running(folder) as api:
            return str(api.get("/api/v1/namespaces/kube-system").body["metadata"]["uid"])

    first = uid(tmp_path / "a")
    assert uid(tmp_path / "a") == first
    assert uid(tmp_path / "b") != first
