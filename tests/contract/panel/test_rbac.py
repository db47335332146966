"""The queue and the watcher with their ServiceAccounts: the Roles in deploy/ grant exactly what they need."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from projects.domain.states import Origin, Phase, Reason
from projects.models import Project, Sandbox
from projects.services.password_rotation import request_password_rotation
from projects.services.provisioning import add_project, request_delete, request_provision
from provisioning.decisions.cluster_identity import KUBE_SYSTEM
from provisioning.heartbeats import is_watched
from provisioning.inventory.adoption import list_clusters, request_adopt
from provisioning.kube.client import Kube, connect
from provisioning.kube.config import load_access
from provisioning.kube.kinds import POD, SECRET, cluster_kind
from provisioning.management.doctor import examine
from provisioning.management.findings import Finding, Verdict
from provisioning.objects.manifests import CLUSTER_V1
from provisioning.watch.watcher import Watcher
from tests.contract.conftest import Place, eventually
from tests.contract.panel.account import QUEUE, WATCHER, WEB, install, token_of, write_account
from tests.contract.panel.recorder import Permission, Recorder, recording
from tests.support.passes import follow, is_running
from tests.support.rest import Access, Object, Rest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

REVIEWS = "/apis/authorization.k8s.io/v1"
DEADLINE_S = 60.0
# Doctor uses it to check permissions. Kubernetes grants it to every account.
REVIEW_PERMISSION: Permission = ("authorization.k8s.io", "selfsubjectaccessreviews", "create")


@dataclass
class Installation:
    """One of the panel's accounts and its Role from deploy/, in namespaces of the test."""

    role: Object
    recorder: Recorder

    @property
    def granted(self) -> set[Permission]:
        return permissions_of(self.role["rules"])


def permissions_of(rules: list[Object]) -> set[Permission]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule.get("apiGroups", [])
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }


@pytest.fixture
def panel_namespace(api: Rest) -> Iterator[str]:
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "contract-panel-"}})["metadata"]["name"]
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def roles(api: Rest, place: Place, panel_namespace: str) -> dict[str, Object]:
    return install(api, panel_namespace, place.name)


@pytest.fixture
def watcher(
    access: Access,
    api: Rest,
    roles: dict[str, Object],
    panel_namespace: str,
    tmp_path: Path,
    use_cluster: Callable[[Path], None],
) -> Iterator[tuple[Installation, Kube]]:
    """The watcher's account, and a client that uses it."""
    with recording(access) as recorder:
        use_cluster(
            write_account(tmp_path / "watcher", {"server": recorder.url}, token_of(api, panel_namespace, WATCHER))
        )
        yield Installation(roles[WATCHER], recorder), Kube(load_access())


@pytest.fixture
def installation(
    access: Access,
    api: Rest,
    roles: dict[str, Object],
    watcher: tuple[Installation, Kube],
    place: Place,
    panel_namespace: str,
    tmp_path: Path,
    use_cluster: Callable[[Path], None],
    settings: Any,
) -> Iterator[Installation]:
    """The queue's account, which everything but the watcher uses."""
    with recording(access) as recorder:
        settings.KUBE_NAMESPACE, settings.PANEL_COMPONENT = place.name, "queue"
        token = token_of(api, panel_namespace, QUEUE)
        use_cluster(write_account(tmp_path / "queue", {"server": recorder.url}, token))
        # On a real server, a new Role takes effect after a moment.
        eventually(lambda: connect().may("list", POD, place.name), bool)
        eventually(lambda: watcher[1].may("watch", SECRET, place.name), bool)
        yield Installation(roles[QUEUE], recorder)


@contextmanager
def watching(kube: Kube) -> Iterator[None]:
    """Run the watcher with this client, and return when its streams are in step."""
    stop = threading.Event()
    thread = threading.Thread(target=Watcher(stop, lambda: kube).run, name="watcher", daemon=True)
    thread.start()
    try:
        eventually(lambda: is_watched(timezone.now()), bool)
        yield
    finally:
        stop.set()
        thread.join(10)


def start(name: str) -> Project:
    project = add_project(name, actor="tester")
    assert request_provision(project, actor="tester").accepted
    return Project.objects.get(pk=project.pk)


def queued(project: Project) -> bool:
    return Project.objects.get(pk=project.pk).queued_at is not None


def drift(api: Rest, place: Place, project: Project) -> Project:
    """Delete the sandbox's StatefulSet outside the panel. The watcher enqueues a pass, which creates it again."""
    assert project.sandbox is not None
    before = project.sandbox.applied_at
    Project.objects.filter(pk=project.pk).update(queued_at=None)
    api.delete(place.apps("statefulsets", project.sandbox.name))
    eventually(lambda: queued(project), bool)
    seen = follow(project, lambda p: bool(p.sandbox and p.sandbox.applied_at != before), DEADLINE_S)
    # During a long wait, the panel reads the Pod to say why.
    Sandbox.objects.filter(project=seen).update(applied_at=timezone.now() - timedelta(seconds=60))
    return follow(seen, is_running, DEADLINE_S)


def foreign_cluster(place: Place, name: str) -> Object:
    amount = {"cpu": "500m", "memory": "512Mi"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    component = {
        "name": "postgresql",
        "serviceVersion": "16.4.0",
        "replicas": 1,
        "resources": {"limits": amount, "requests": amount},
        "volumeClaimTemplates": [{"name": "data", "spec": claim}],
    }
    return {
        "apiVersion": CLUSTER_V1,
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": place.name},
        "spec": {
            "clusterDef": "postgresql",
            "topology": "replication",
            "terminationPolicy": "Delete",
            "componentSpecs": [component],
        },
    }


def permissions_finding() -> Finding:
    (found,) = [finding for finding in examine() if finding.subject == "permissions"]
    return found


def live_a_whole_life(api: Rest, place: Place, settings: Any, unique_name: str, watcher: Kube) -> None:
    """Covers all that the panel does in a cluster: provision, watch, revert drift, adopt, release, delete, diagnose."""
    made = follow(start(f"{unique_name}a"), is_running, DEADLINE_S)
    assert made.sandbox is not None
    # The panel writes the new password into the Secret of KubeBlocks.
    assert request_password_rotation(made, actor="tester").accepted
    made = follow(made, lambda p: is_running(p) and p.events.filter(reason="PasswordRotated").exists(), DEADLINE_S)
    with watching(watcher):
        settings.SANDBOX_DOMAIN = "apps.example.com"
        public = follow(start(f"{unique_name}b"), is_running, DEADLINE_S)
        made = drift(api, place, made)
    clusters = place.path(CLUSTER_V1, "clusters")
    api.create(clusters, foreign_cluster(place, "made-by-hand"))
    adopting = add_project(f"{unique_name}c", actor="tester")
    assert request_adopt(adopting, "made-by-hand", actor="tester").accepted
    adopted = follow(adopting, is_running, DEADLINE_S)
    assert adopted.database is not None
    assert adopted.database.origin == Origin.ADOPTED
    assert len(list_clusters(place.name)) == 3
    for project in (made, public, adopted):
        request_delete(project, actor="tester")
    for project in (made, public, adopted):
        follow(project, lambda p: p.phase == Phase.DELETED, DEADLINE_S)
    assert api.get(f"{clusters}/made-by-hand").status == 200
    assert [cluster.name for cluster in list_clusters(place.name)] == ["made-by-hand"]
    assert permissions_finding().verdict is Verdict.OK


def test_life_of_a_project_uses_exactly_the_roles(
    installation: Installation,
    watcher: tuple[Installation, Kube],
    api: Rest,
    place: Place,
    settings: Any,
    unique_name: str,
) -> None:
    live_a_whole_life(api, place, settings, unique_name, watcher[1])
    for account in (installation, watcher[0]):
        recorder, name = account.recorder, account.role["metadata"]["name"]
        # Whether it is the same cluster is told by kube-system; the Roles of deploy/base allow the other way only.
        assert {request.namespace for request in recorder.refused} <= {KUBE_SYSTEM}
        needed = recorder.permissions - {REVIEW_PERMISSION}
        assert sorted(account.granted - needed) == [], f"granted to {name}, but never needed"
        assert sorted(needed - account.granted) == [], f"needed by {name}, but not granted"
        assert {request.namespace for request in recorder.requests} <= {place.name, "", KUBE_SYSTEM}


def rules_of(rest: Rest, namespace: str) -> set[Permission]:
    """What `kubectl auth can-i --list` shows of resources."""
    status = rest.create(f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": namespace}})["status"]
    assert status["incomplete"] is False
    return permissions_of(status["resourceRules"])


def test_accounts_have_no_other_permissions(
    access: Access, api: Rest, place: Place, panel_namespace: str, roles: dict[str, Object], installation: Installation
) -> None:
    def rules_in(account: str, namespace: str) -> set[Permission]:
        token = token_of(api, panel_namespace, account)
        rest = Rest(Access(access.url, token=token, ca_file=access.ca_file, verify=access.verify))
        try:
            return rules_of(rest, namespace)
        finally:
            rest.close()

    api.create(f"/api/v1/namespaces/{panel_namespace}/serviceaccounts", {"metadata": {"name": "nobody"}})
    everyones = rules_in("nobody", place.name)
    for account in (QUEUE, WATCHER, WEB):
        granted = permissions_of(roles[account]["rules"]) if account in roles else set()
        assert rules_in(account, place.name) - everyones == granted, account
        assert rules_in(account, panel_namespace) == everyones
        assert rules_in(account, "kube-system") == everyones
    assert WEB not in roles


def test_doctor_checks_the_permissions_of_its_component(
    installation: Installation, watcher: tuple[Installation, Kube], settings: Any
) -> None:
    assert permissions_finding().verdict is Verdict.OK
    settings.PANEL_COMPONENT = "watcher"
    missing = permissions_finding()
    assert missing.verdict is Verdict.FAILED
    assert missing.message.startswith("The watcher's account can't watch")


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [("apps.kubeblocks.io", "clusters", "create"), ("apps.kubeblocks.io", "clusters", "list"), ("", "secrets", "list")],
)
def test_missing_permission_is_reported(
    installation: Installation, api: Rest, place: Place, unique_name: str, group: str, resource: str, verb: str
) -> None:
    """Shows that the first test fails if a permission is missing: the panel reports which one."""
    role = copy.deepcopy(installation.role)
    for rule in role["rules"]:
        if rule["apiGroups"] == [group] and rule["resources"] == [resource]:
            rule["verbs"] = [one for one in rule["verbs"] if one != verb]
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place.name}/roles/{role['metadata']['name']}"
    assert api.put(path, role).status == 200
    kind = {"clusters": cluster_kind(CLUSTER_V1), "secrets": SECRET}[resource]
    eventually(lambda: connect().may(verb, kind, place.name), lambda may: not may)
    found = permissions_finding()
    assert found.verdict is Verdict.FAILED
    assert f"can't {verb} {resource} in namespace {place.name}" in found.message
    project = follow(start(unique_name), lambda p: p.reason == Reason.CLUSTER_REFUSED, DEADLINE_S)
    assert f'cannot {verb} resource "{resource}"' in project.message
    assert "doctor" in project.message
