"""Discovery: version, health, groups, resources and OpenAPI documents."""

from __future__ import annotations

import pytest

from tests.support.rest import Object, Rest

READ_WRITE = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
STATUS_VERBS = ["get", "patch", "update"]


def _resources(api: Rest, path: str) -> dict[str, Object]:
    answer = api.get(path)
    assert answer.status == 200
    assert answer.body["kind"] == "APIResourceList"
    return {resource["name"]: resource for resource in answer.body["resources"]}


def test_version_has_major_minor_and_build(api: Rest) -> None:
    body = api.get("/version").body
    assert body["major"] == "1"
    assert body["gitVersion"].startswith(f"v1.{body['minor'].rstrip('+')}.")
    for key in ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"):
        assert isinstance(body[key], str), key


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_endpoints_answer_ok_in_plain_text(api: Rest, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.text) == (200, "ok")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_core_has_version_v1(api: Rest) -> None:
    body = api.get("/api").body
    assert body["kind"] == "APIVersions"
    assert body["versions"] == ["v1"]
    assert "serverAddressByClientCIDRs" in body


@pytest.mark.parametrize(
    "group",
    [
        "apps",
        "apiextensions.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "batch",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
    ],
)
def test_groups_are_listed_with_their_preferred_version(api: Rest, group: str) -> None:
    listed = {entry["name"]: entry for entry in api.get("/apis").body["groups"]}
    v1 = {"groupVersion": f"{group}/v1", "version": "v1"}
    assert v1 in listed[group]["versions"]
    assert listed[group]["preferredVersion"] == v1
    own_page = api.get(f"/apis/{group}").body
    assert own_page["kind"] == "APIGroup"
    assert own_page["name"] == group
    assert own_page["preferredVersion"] == v1


def test_group_list_has_its_kind(api: Rest) -> None:
    body = api.get("/apis").body
    assert (body["kind"], body["apiVersion"]) == ("APIGroupList", "v1")


@pytest.mark.parametrize(
    ("group_version", "plural", "kind", "singular", "short_names"),
    [
        ("v1", "configmaps", "ConfigMap", "configmap", ["cm"]),
        ("v1", "secrets", "Secret", "secret", None),
        ("v1", "services", "Service", "service", ["svc"]),
        ("v1", "pods", "Pod", "pod", ["po"]),
        ("v1", "serviceaccounts", "ServiceAccount", "serviceaccount", ["sa"]),
        ("v1", "events", "Event", "event", ["ev"]),
        ("v1", "endpoints", "Endpoints", "endpoints", ["ep"]),
        ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "persistentvolumeclaim", ["pvc"]),
        ("v1", "resourcequotas", "ResourceQuota", "resourcequota", ["quota"]),
        ("apps/v1", "statefulsets", "StatefulSet", "statefulset", ["sts"]),
        ("apps/v1", "deployments", "Deployment", "deployment", ["deploy"]),
        ("apps/v1", "replicasets", "ReplicaSet", "replicaset", ["rs"]),
        ("apps/v1", "controllerrevisions", "ControllerRevision", "controllerrevision", None),
        ("networking.k8s.io/v1", "ingresses", "Ingress", "ingress", ["ing"]),
        ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "networkpolicy", ["netpol"]),
        ("rbac.authorization.k8s.io/v1", "roles", "Role", "role", None),
        ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", "rolebinding", None),
        ("coordination.k8s.io/v1", "leases", "Lease", "lease", None),
        ("batch/v1", "jobs", "Job", "job", None),
        ("batch/v1", "cronjobs", "CronJob", "cronjob", ["cj"]),
        ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "poddisruptionbudget", ["pdb"]),
        ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", "endpointslice", None),
    ],
)
def test_namespaced_resources_are_listed(
    api: Rest, group_version: str, plural: str, kind: str, singular: str, short_names: list[str] | None
) -> None:
    path = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
    resource = _resources(api, path)[plural]
    assert resource["kind"] == kind
    assert resource["singularName"] == singular
    assert resource["namespaced"] is True
    assert resource["verbs"] == READ_WRITE
    assert resource.get("shortNames") == short_names


@pytest.mark.parametrize(
    ("path", "plural", "kind"),
    [
        ("/api/v1", "nodes", "Node"),
        ("/api/v1", "persistentvolumes", "PersistentVolume"),
        ("/apis/storage.k8s.io/v1", "storageclasses", "StorageClass"),
        ("/apis/networking.k8s.io/v1", "ingressclasses", "IngressClass"),
        ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole"),
        ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding"),
        ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition"),
    ],
)
def test_cluster_wide_resources_are_listed(api: Rest, path: str, plural: str, kind: str) -> None:
    resource = _resources(api, path)[plural]
    assert (resource["kind"], resource["namespaced"], resource["verbs"]) == (kind, False, READ_WRITE)


def test_namespaces_have_no_collection_delete(api: Rest) -> None:
    verbs = _resources(api, "/api/v1")["namespaces"]["verbs"]
    assert verbs == ["create", "delete", "get", "list", "patch", "update", "watch"]


@pytest.mark.parametrize(
    ("path", "subresource", "verbs"),
    [
        ("/api/v1", "pods/status", STATUS_VERBS),
        ("/api/v1", "pods/log", ["get"]),
        ("/api/v1", "namespaces/status", STATUS_VERBS),
        ("/api/v1", "services/status", STATUS_VERBS),
        ("/api/v1", "persistentvolumeclaims/status", STATUS_VERBS),
        ("/api/v1", "serviceaccounts/token", ["create"]),
        ("/apis/apps/v1", "statefulsets/status", STATUS_VERBS),
        ("/apis/apps/v1", "statefulsets/scale", STATUS_VERBS),
        ("/apis/apps/v1", "deployments/scale", STATUS_VERBS),
        ("/apis/networking.k8s.io/v1", "ingresses/status", STATUS_VERBS),
        ("/apis/batch/v1", "jobs/status", STATUS_VERBS),
    ],
)
def test_subresources_are_listed(api: Rest, path: str, subresource: str, verbs: list[str]) -> None:
    resource = _resources(api, path)[subresource]
    assert resource["verbs"] == verbs
    assert resource["singularName"] == ""


def test_scale_belongs_to_another_group(api: Rest) -> None:
    scale = _resources(api, "/apis/apps/v1")["statefulsets/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


def test_token_request_belongs_to_another_group(api: Rest) -> None:
    token = _resources(api, "/api/v1")["serviceaccounts/token"]
    assert (token["group"], token["version"], token["kind"]) == ("authentication.k8s.io", "v1", "TokenRequest")


@pytest.mark.parametrize(
    "plural",
    ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews", "localsubjectaccessreviews"],
)
def test_reviews_can_only_be_created(api: Rest, plural: str) -> None:
    assert _resources(api, "/apis/authorization.k8s.io/v1")[plural]["verbs"] == ["create"]


@pytest.mark.parametrize(
    "path", ["/nope", "/apis/nope.invalid", "/apis/nope.invalid/v1", "/apis/nope.invalid/v1/things"]
)
def test_unknown_groups_and_pages_are_plain_404_pages(api: Rest, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_the_root_lists_paths(api: Rest) -> None:
    paths = api.get("/").body["paths"]
    assert {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version"} <= set(paths)


class TestOpenApi:
    def test_the_index_names_a_document_for_each_group_version(self, api: Rest) -> None:
        paths = api.get("/openapi/v3").body["paths"]
        assert {"api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1"} <= paths.keys()
        assert paths["apis/apps/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/apps/v1?hash=")

    def test_patch_has_the_parameters_that_kubectl_needs(self, api: Rest) -> None:
        document = api.get("/openapi/v3/apis/apps/v1").body
        patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"]["patch"]
        kind = {"group": "apps", "version": "v1", "kind": "StatefulSet"}
        assert (patch["x-kubernetes-action"], patch["x-kubernetes-group-version-kind"]) == ("patch", kind)
        names = {parameter["name"] for parameter in patch["parameters"] if parameter["in"] == "query"}
        assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= names
        assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]

    def test_schemas_refer_to_each_other(self, api: Rest) -> None:
        schemas = api.get("/openapi/v3/apis/apps/v1").body["components"]["schemas"]
        whole = schemas["io.k8s.api.apps.v1.StatefulSet"]
        kind = {"group": "apps", "version": "v1", "kind": "StatefulSet"}
        assert whole["x-kubernetes-group-version-kind"] == [kind]
        (reference,) = whole["properties"]["spec"]["allOf"]
        assert reference == {"$ref": "#/components/schemas/io.k8s.api.apps.v1.StatefulSetSpec"}
        spec = schemas["io.k8s.api.apps.v1.StatefulSetSpec"]
        assert spec["properties"]["replicas"]["type"] == "integer"
        assert set(spec["required"]) == {"selector", "template"}
        containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
        assert (containers["x-kubernetes-list-type"], containers["x-kubernetes-list-map-keys"]) == ("map", ["name"])
        assert containers["x-kubernetes-patch-merge-key"] == "name"

    def test_unknown_group_version_is_not_found(self, api: Rest) -> None:
        assert api.get("/openapi/v3/apis/nothing.example.invalid/v1").status == 404
