"""The patch types: JSON, merge and strategic merge (test_server_apply.py covers server-side apply)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import configmap, pod, service, statefulset
from tests.support.rest import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Object, Rest, refusal

IN_ERROR = "the server rejected our request due to an error in our request"
OUTDATED = "the object has been modified; please apply your changes to the latest version and try again"


@pytest.fixture
def path(api: Rest, place: Place) -> str:
    """Create the ConfigMap `a` with data k and l; return its path."""
    api.create(place.core("configmaps"), configmap("a", data={"k": "1", "l": "2"}))
    return place.core("configmaps", "a")


@pytest.fixture
def web(api: Rest, place: Place) -> str:
    """Create the StatefulSet `web` without replicas; return its path."""
    api.create(place.apps("statefulsets"), statefulset("web"))
    return place.apps("statefulsets", "web")


class TestJsonPatch:
    @pytest.mark.parametrize(
        ("operations", "data"),
        [
            ([{"op": "replace", "path": "/data/k", "value": "9"}], {"k": "9", "l": "2"}),
            ([{"op": "add", "path": "/data/m", "value": "3"}], {"k": "1", "l": "2", "m": "3"}),
            ([{"op": "remove", "path": "/data/k"}], {"l": "2"}),
            ([{"op": "copy", "from": "/data/k", "path": "/data/m"}], {"k": "1", "l": "2", "m": "1"}),
            ([{"op": "move", "from": "/data/k", "path": "/data/m"}], {"l": "2", "m": "1"}),
            (
                [{"op": "test", "path": "/data/k", "value": "1"}, {"op": "replace", "path": "/data/k", "value": "9"}],
                {"k": "9", "l": "2"},
            ),
            ([{"op": "replace", "path": "/data", "value": {"z": "0"}}], {"z": "0"}),
            ([], {"k": "1", "l": "2"}),
        ],
    )
    def test_every_operation_works(self, api: Rest, path: str, operations: list[Object], data: dict[str, str]) -> None:
        answer = api.patch(path, operations, JSON_PATCH)
        assert (answer.status, answer.body["data"]) == (200, data)
        assert api.read(path)["data"] == data

    def test_slashes_in_paths_are_escaped(self, api: Rest, path: str) -> None:
        operations = [
            {"op": "add", "path": "/metadata/annotations", "value": {}},
            {"op": "add", "path": "/metadata/annotations/x~1y", "value": "1"},
        ]
        assert api.patch(path, operations, JSON_PATCH).body["metadata"]["annotations"] == {"x/y": "1"}

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/data/k", "value": "other"},
            {"op": "remove", "path": "/data/nope"},
            {"op": "add", "path": "/metadata/labels/x", "value": "no labels there"},
            {"op": "sing", "path": "/data/k", "value": "1"},
            {"op": "move", "from": "/data/nope", "path": "/data/m"},
        ],
        ids=["a test that fails", "remove nothing", "add below nothing", "unknown operation", "move nothing"],
    )
    def test_inapplicable_patch_is_422(self, api: Rest, path: str, operation: Object) -> None:
        before = api.read(path)
        answer = api.patch(path, [{"op": "add", "path": "/data/m", "value": "1"}, operation], JSON_PATCH)
        assert refusal(answer) == (422, "Invalid", IN_ERROR)
        assert api.read(path) == before

    @pytest.mark.parametrize("body", [{"op": "test"}, "{nope", '"text"'])
    def test_patch_that_is_not_a_list_is_400(self, api: Rest, path: str, body: object) -> None:
        answer = api.patch(path, body, JSON_PATCH)
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith("error decoding patch: ")

    def test_list_items_are_addressed_by_index(self, api: Rest, web: str) -> None:
        operations = [
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.invalid/main:2"},
            {"op": "remove", "path": "/spec/template/spec/containers/0/env/0"},
            {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "Z", "value": "26"}},
        ]
        container = _containers(api.patch(web, operations, JSON_PATCH))[0]
        assert container["image"] == "registry.invalid/main:2"
        assert container["env"] == [{"name": "B", "value": "2"}, {"name": "Z", "value": "26"}]

    def test_resource_version_can_be_tested(self, api: Rest, path: str) -> None:
        version = api.read(path)["metadata"]["resourceVersion"]
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/data/k", "value": "9"},
        ]
        assert api.patch(path, operations, JSON_PATCH).status == 200
        assert api.patch(path, operations, JSON_PATCH).status == 422


class TestMergePatch:
    @pytest.mark.parametrize(
        ("patch", "data"),
        [
            ({"data": {"k": "9"}}, {"k": "9", "l": "2"}),
            ({"data": {"k": None, "m": "3"}}, {"l": "2", "m": "3"}),
            ({"data": {"nope": None}}, {"k": "1", "l": "2"}),
            ({"data": None}, None),
            ({}, {"k": "1", "l": "2"}),
        ],
    )
    def test_fields_are_set_and_removed(self, api: Rest, path: str, patch: Object, data: dict[str, str] | None) -> None:
        answer = api.merge(path, patch)
        assert (answer.status, answer.body.get("data")) == (200, data)

    def test_patch_without_a_change_keeps_the_version(self, api: Rest, path: str) -> None:
        before = api.read(path)
        assert api.merge(path, {"data": {"k": "1"}}).body == before

    def test_lists_are_replaced(self, api: Rest, web: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "registry.invalid/x:1"}]}}}}
        assert [container["name"] for container in _containers(api.merge(web, patch))] == ["only"]

    def test_patch_of_an_old_version_is_a_conflict(self, api: Rest, path: str) -> None:
        answer = api.merge(path, {"metadata": {"resourceVersion": "1"}, "data": {"k": "9"}})
        expected = f'Operation cannot be fulfilled on configmaps "a": {OUTDATED}'
        assert refusal(answer) == (409, "Conflict", expected)
        assert answer.details == {"name": "a", "kind": "configmaps"}

    def test_patch_of_the_current_version_succeeds(self, api: Rest, path: str) -> None:
        version = api.read(path)["metadata"]["resourceVersion"]
        assert api.merge(path, {"metadata": {"resourceVersion": version}, "data": {"k": "9"}}).status == 200

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"name": "other"}, "the name of the object (other) does not match the name on the URL (a)"),
            (
                {"namespace": "other"},
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
        ],
    )
    def test_rename_is_400(self, api: Rest, path: str, metadata: Object, message: str) -> None:
        assert refusal(api.merge(path, {"metadata": metadata})) == (400, "BadRequest", message)

    def test_uid_is_immutable(self, api: Rest, path: str) -> None:
        answer = api.merge(path, {"metadata": {"uid": "other"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {(cause.reason, cause.field) for cause in answer.causes} == {("FieldValueInvalid", "metadata.uid")}
        assert "field is immutable" in answer.message

    def test_wrong_json_type_is_422(self, api: Rest, path: str) -> None:
        """In a POST, it is 400."""
        answer = api.merge(path, {"data": {"k": 1}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueInvalid", "patch")]
        assert answer.message.endswith(
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        )

    @pytest.mark.parametrize("body", ["[]", "{nope", '"text"'])
    def test_patch_that_is_not_an_object_is_400(self, api: Rest, path: str, body: str) -> None:
        answer = api.merge(path, body)
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith("error decoding patch: ")

    def test_service_port_can_change(self, api: Rest, place: Place) -> None:
        api.create(place.core("services"), service("web"))
        ports = [{"name": "http", "port": 81, "targetPort": 8080}]
        answer = api.merge(place.core("services", "web"), {"spec": {"ports": ports}})
        assert answer.body["spec"]["ports"][0]["port"] == 81


class TestStrategicMergePatch:
    def test_containers_and_variables_merge_by_name(self, api: Rest, web: str) -> None:
        env = [{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
        containers = _containers(_strategic(api, web, [{"name": "main", "env": env}]))
        assert [container["name"] for container in containers] == ["main", "side"]
        assert containers[0]["image"] == "registry.invalid/main:1"
        assert {item["name"]: item["value"] for item in containers[0]["env"]} == {"A": "1", "B": "9", "C": "3"}

    def test_new_container_is_added(self, api: Rest, web: str) -> None:
        containers = _containers(_strategic(api, web, [{"name": "new", "image": "registry.invalid/new:1"}]))
        assert {container["name"] for container in containers} == {"main", "side", "new"}

    def test_directive_deletes_an_element(self, api: Rest, web: str) -> None:
        containers = _containers(_strategic(api, web, [{"name": "side", "$patch": "delete"}]))
        assert [container["name"] for container in containers] == ["main"]

    def test_directive_replaces_a_list(self, api: Rest, web: str) -> None:
        env = [{"$patch": "replace"}, {"name": "Z", "value": "26"}]
        containers = _containers(_strategic(api, web, [{"name": "main", "env": env}]))
        assert containers[0]["env"] == [{"name": "Z", "value": "26"}]

    def test_ports_merge_by_number(self, api: Rest, web: str) -> None:
        containers = _containers(_strategic(api, web, [{"name": "main", "ports": [{"containerPort": 9090}]}]))
        assert {port["containerPort"] for port in containers[0]["ports"]} == {8080, 9090}

    def test_service_ports_merge_by_number(self, api: Rest, place: Place) -> None:
        api.create(place.core("services"), service("web"))
        patch = {"spec": {"ports": [{"name": "more", "port": 81}]}}
        answer = api.patch(place.core("services", "web"), patch, STRATEGIC_PATCH)
        assert {port["port"] for port in answer.body["spec"]["ports"]} == {80, 81}

    def test_finalizers_merge_as_a_set(self, api: Rest, path: str) -> None:
        api.patch(path, {"metadata": {"finalizers": ["contract.invalid/a"]}}, STRATEGIC_PATCH)
        answer = api.patch(path, {"metadata": {"finalizers": ["contract.invalid/b"]}}, STRATEGIC_PATCH)
        assert sorted(answer.body["metadata"]["finalizers"]) == ["contract.invalid/a", "contract.invalid/b"]
        removal = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["contract.invalid/a", "contract.invalid/b"]}}
        assert "finalizers" not in api.patch(path, removal, STRATEGIC_PATCH).body["metadata"]

    def test_null_removes_a_key(self, api: Rest, path: str) -> None:
        assert api.patch(path, {"data": {"k": None}}, STRATEGIC_PATCH).body["data"] == {"l": "2"}

    def test_owner_references_merge_by_uid(self, api: Rest, path: str) -> None:
        def owner(uid: str) -> Object:
            return {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid}

        api.patch(path, {"metadata": {"finalizers": ["contract.invalid/keep"]}}, MERGE_PATCH)
        api.patch(path, {"metadata": {"ownerReferences": [owner("one")]}}, STRATEGIC_PATCH)
        answer = api.patch(path, {"metadata": {"ownerReferences": [owner("two")]}}, STRATEGIC_PATCH)
        assert {reference["uid"] for reference in answer.body["metadata"]["ownerReferences"]} == {"one", "two"}
        api.merge(path, {"metadata": {"finalizers": None, "ownerReferences": None}})

    def test_wrong_json_type_is_refused(self, api: Rest, path: str) -> None:
        answer = api.patch(path, {"data": {"k": 1}}, STRATEGIC_PATCH)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueInvalid", "patch")]
        assert answer.message.endswith("cannot convert int64 to string")

    def test_conditions_merge_by_type(self, api: Rest, place: Place, needs_controllers: None) -> None:
        api.create(place.core("serviceaccounts"), {"metadata": {"name": "robot"}})
        body = pod("p")
        body["spec"]["serviceAccountName"] = "robot"
        api.create(place.core("pods"), body)
        status = place.core("pods", "p", "status")
        for kind in ("Ready", "ContainersReady"):
            patch = {"status": {"conditions": [{"type": kind, "status": "False", "reason": "Waiting"}]}}
            api.patch(status, patch, STRATEGIC_PATCH)
        patch = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        conditions = api.patch(status, patch, STRATEGIC_PATCH).body["status"]["conditions"]
        assert {item["type"]: item["status"] for item in conditions} == {"Ready": "True", "ContainersReady": "False"}


def _strategic(api: Rest, path: str, containers: list[Object]) -> Answer:
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    return api.patch(path, patch, STRATEGIC_PATCH)


def _containers(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.text[:600]
    containers: list[dict[str, Any]] = answer.body["spec"]["template"]["spec"]["containers"]
    return containers
