"""The manifests of deploy/ on an API server: they are created with strict validation and without warnings."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from devcluster.cluster import EmbeddedCluster
from provisioning.objects.manifests import (
    Owner,
    SandboxSpec,
    build_environment_secret,
    build_service,
    build_statefulset,
)
from tests.contract.panel.clusters import PanelCluster
from tests.deploy.assembly import assemble
from tests.support.kubeconfig import load_kubeconfig
from tests.support.rest import Answer, Object, Rest

EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "example"
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


@pytest.fixture(scope="module")
def rest(panel_cluster: PanelCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    rest = Rest(load_kubeconfig(panel_cluster.kubeconfig, tmp_path_factory.mktemp("access")))
    yield rest
    rest.close()


@pytest.fixture
def namespaces(rest: Rest) -> Iterator[dict[str, str]]:
    """New namespaces with the labels of those in deploy/."""
    names: dict[str, str] = {}
    for manifest in assemble(EXAMPLE):
        if manifest["kind"] == "Namespace":
            labels = manifest["metadata"]["labels"]
            made = rest.create("/api/v1/namespaces", {"metadata": {"generateName": "contract-", "labels": labels}})
            names[manifest["metadata"]["name"]] = made["metadata"]["name"]
    yield names
    for name in names.values():
        rest.delete(f"/api/v1/namespaces/{name}")


def moved(manifest: Object, namespaces: dict[str, str]) -> Object:
    copied: Any = copy.deepcopy(manifest)
    for place in (copied["metadata"], *copied.get("subjects", [])):
        if "namespace" in place:
            place["namespace"] = namespaces[place["namespace"]]
    if "namespace" not in manifest["metadata"]:
        # Cluster-wide objects would conflict with those of another run.
        copied["metadata"]["name"] += f"-{namespaces['controlpanel']}"
    return dict(copied)


def collection_path(manifest: Object) -> str:
    version = manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(manifest["kind"], f"{manifest['kind'].lower()}s")
    namespace = manifest["metadata"].get("namespace")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def create(rest: Rest, manifest: Object) -> Answer:
    return rest.post(collection_path(manifest), manifest, fieldValidation="Strict")


def test_manifests_are_created_without_warnings(rest: Rest, namespaces: dict[str, str]) -> None:
    manifests = [moved(manifest, namespaces) for manifest in assemble(EXAMPLE) if manifest["kind"] != "Namespace"]
    try:
        for manifest in manifests:
            answer = create(rest, manifest)
            assert answer.status == 201, answer.text[:800]
            assert answer.warnings == [], manifest["metadata"]["name"]
    finally:
        for manifest in manifests:
            if "namespace" not in manifest["metadata"]:
                rest.delete(f"{collection_path(manifest)}/{manifest['metadata']['name']}")


def test_sandbox_meets_the_restricted_standard(rest: Rest, namespaces: dict[str, str]) -> None:
    """A real server warns about other Pods, as the labels of the namespace request."""
    spec = SandboxSpec(
        image="registry.invalid/web:1", ports={"app": 3000}, cpu="1", memory="1Gi", storage="1Gi", readiness_path="/"
    )
    where = ("aaa-sandbox", namespaces["databases"], Owner("aaa", UUID(int=7)))
    for manifest in (
        build_environment_secret(*where, {"DATABASE_URL": "postgresql://nowhere"}),
        build_service(*where, spec),
        build_statefulset(*where, spec, variables=["DATABASE_URL"], digest="d"),
    ):
        answer = create(rest, manifest)
        assert answer.status == 201, answer.text[:800]
        assert answer.warnings == []


def test_readiness_probe_can_be_changed(rest: Rest, namespaces: dict[str, str]) -> None:
    """The server keeps its defaults: a part of httpGet would remain beside tcpSocket, which is refused."""
    path = f"/apis/apps/v1/namespaces/{namespaces['databases']}/statefulsets/aaa-sandbox"
    where = ("aaa-sandbox", namespaces["databases"], Owner("aaa", UUID(int=7)))
    for readiness_path, handler in (("/ready", "httpGet"), ("", "tcpSocket"), ("/ready", "httpGet")):
        spec = SandboxSpec("registry.invalid/web:1", {"app": 3000}, "1", "1Gi", "1Gi", readiness_path=readiness_path)
        answer = rest.apply(path, build_statefulset(*where, spec, variables=["A"], digest="d"), fieldManager="panel")
        assert answer.status in {200, 201}, answer.text[:800]
        (container,) = answer.body["spec"]["template"]["spec"]["containers"]
        assert {"httpGet", "tcpSocket"} & set(container["readinessProbe"]) == {handler}


def test_unrestricted_pod_is_refused_in_the_panels_namespace(
    rest: Rest, namespaces: dict[str, str], panel_cluster: PanelCluster
) -> None:
    """Shows that the tests above can fail on a server that enforces the standard."""
    if isinstance(panel_cluster, EmbeddedCluster):
        pytest.skip("The embedded API server does not enforce Pod security standards.")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": namespaces["controlpanel"]},
        "spec": {"containers": [{"name": "root", "image": "registry.invalid/root:1"}]},
    }
    answer = create(rest, pod)
    assert answer.status == 403
    assert "violates PodSecurity" in answer.message
