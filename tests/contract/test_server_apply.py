"""Server-side apply: ownership of fields, conflicts, force, and fields that are no longer applied."""

from __future__ import annotations

import pytest
import yaml

from tests.contract.conftest import Place
from tests.contract.objects import configmap, statefulset
from tests.support.rest import Answer, Cause, Object, Rest, refusal


def _apply(api: Rest, path: str, body: Object, manager: str = "panel", **params: str | bool) -> Answer:
    return api.apply(path, body, fieldManager=manager, **params)


def _managers(body: Object) -> dict[str, str]:
    return {entry["manager"]: entry["operation"] for entry in body["metadata"].get("managedFields", [])}


def _owned(body: Object, manager: str) -> Object:
    for entry in body["metadata"]["managedFields"]:
        if entry["manager"] == manager:
            fields: Object = entry["fieldsV1"]
            return fields
    raise AssertionError(f"{manager} owns nothing")


@pytest.fixture
def path(place: Place) -> str:
    return place.core("configmaps", "a")


class TestCreation:
    def test_apply_creates_a_missing_object(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, configmap("a", data={"k": "1"}))
        assert answer.status == 201
        assert answer.body["data"] == {"k": "1"}
        assert _managers(answer.body) == {"panel": "Apply"}
        assert _owned(answer.body, "panel") == {"f:data": {"f:k": {}}}

    def test_apply_updates_an_existing_object(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}))
        answer = _apply(api, path, configmap("a", data={"k": "2"}))
        assert (answer.status, answer.body["data"]) == (200, {"k": "2"})

    def test_repeated_apply_changes_nothing(self, api: Rest, path: str) -> None:
        first = _apply(api, path, configmap("a", data={"k": "1"})).body
        second = _apply(api, path, configmap("a", data={"k": "1"})).body
        assert first == second

    def test_apply_accepts_yaml(self, api: Rest, path: str) -> None:
        text = yaml.safe_dump(configmap("a", data={"k": "1"}))
        answer = api.apply(path, text, fieldManager="panel")
        assert (answer.status, answer.body["data"]) == (201, {"k": "1"})

    def test_managed_fields_list_what_was_applied(self, api: Rest, path: str) -> None:
        (entry,) = _apply(api, path, configmap("a", data={"k": "1"})).body["metadata"]["managedFields"]
        assert entry["apiVersion"] == "v1"
        assert entry["fieldsType"] == "FieldsV1"
        assert entry["time"].endswith("Z")

    def test_create_is_recorded_as_an_update(self, api: Rest, place: Place) -> None:
        stored = api.create(place.core("configmaps"), configmap("a", data={"k": "1"}), fieldManager="someone")
        assert _managers(stored) == {"someone": "Update"}
        assert _owned(stored, "someone") == {"f:data": {".": {}, "f:k": {}}}

    def test_user_agent_is_the_default_manager(self, api: Rest, place: Place) -> None:
        answer = api.call(
            "POST", place.core("configmaps"), configmap("a", data={"k": "1"}), headers={"User-Agent": "me/1"}
        )
        assert _managers(answer.body) == {"me": "Update"}


class TestConflicts:
    def test_field_of_another_manager_conflicts(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}), "first")
        answer = _apply(api, path, configmap("a", data={"k": "2"}), "second")
        message = 'Apply failed with 1 conflict: conflict with "first": .data.k'
        assert refusal(answer) == (409, "Conflict", message)
        assert answer.causes == [Cause("FieldManagerConflict", ".data.k", 'conflict with "first"')]
        assert api.read(path)["data"] == {"k": "1"}

    def test_every_conflicting_field_is_named(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1", "l": "1"}), "first")
        answer = _apply(api, path, configmap("a", data={"k": "2", "l": "2"}), "second")
        assert answer.message == 'Apply failed with 2 conflicts: conflicts with "first":\n- .data.k\n- .data.l'
        assert [cause.field for cause in answer.causes] == [".data.k", ".data.l"]

    def test_field_of_an_update_conflicts(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}), "panel")
        api.merge(path, {"data": {"k": "2"}}, fieldManager="kubectl-edit")
        answer = _apply(api, path, configmap("a", data={"k": "3"}), "panel")
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert answer.message == 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.k'

    def test_force_takes_the_field_over(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}), "first")
        answer = _apply(api, path, configmap("a", data={"k": "2"}), "second", force=True)
        assert (answer.status, answer.body["data"]) == (200, {"k": "2"})
        assert _managers(answer.body) == {"second": "Apply"}

    def test_force_leaves_other_fields_to_their_manager(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1", "l": "1"}), "first")
        answer = _apply(api, path, configmap("a", data={"k": "2"}), "second", force=True)
        assert answer.body["data"] == {"k": "2", "l": "1"}
        assert _owned(answer.body, "first") == {"f:data": {"f:l": {}}}
        assert _owned(answer.body, "second") == {"f:data": {"f:k": {}}}

    def test_equal_values_are_owned_together(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}), "first")
        answer = _apply(api, path, configmap("a", data={"k": "1"}), "second")
        assert answer.status == 200
        assert _managers(answer.body) == {"first": "Apply", "second": "Apply"}

    def test_update_takes_fields_without_a_conflict(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}), "panel")
        body = api.merge(path, {"data": {"k": "2"}}, fieldManager="other").body
        assert body["data"] == {"k": "2"}
        assert _owned(body, "other") == {"f:data": {"f:k": {}}}
        assert "panel" not in _managers(body)


class TestRemoval:
    def test_apply_removes_a_field_that_it_omits(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1", "l": "1"}))
        assert _apply(api, path, configmap("a", data={"k": "1"})).body["data"] == {"k": "1"}

    def test_apply_keeps_an_omitted_field_with_a_second_owner(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1", "l": "1"}), "first")
        _apply(api, path, configmap("a", data={"l": "1"}), "second")
        answer = _apply(api, path, configmap("a", data={"k": "1"}), "first")
        assert answer.body["data"] == {"k": "1", "l": "1"}

    def test_apply_keeps_fields_of_other_managers(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}))
        api.merge(path, {"data": {"theirs": "1"}, "metadata": {"labels": {"theirs": "1"}}}, fieldManager="other")
        answer = _apply(api, path, configmap("a", data={"k": "2"}))
        assert answer.body["data"] == {"k": "2", "theirs": "1"}
        assert answer.body["metadata"]["labels"] == {"theirs": "1"}

    def test_apply_without_fields_keeps_the_object(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}))
        answer = _apply(api, path, configmap("a"))
        assert answer.status == 200
        assert "data" not in answer.body

    def test_apply_removes_all_labels_and_a_key_at_once(self, api: Rest, path: str) -> None:
        body = configmap("a", data={"k": "1", "l": "2"})
        body["metadata"]["labels"] = {"x": "y"}
        _apply(api, path, body, "m1")
        answer = _apply(api, path, configmap("a", data={"k": "1"}), "m1")
        assert answer.status == 200, answer.text
        assert answer.body["data"] == {"k": "1"}
        assert "labels" not in answer.body["metadata"]
        assert _owned(answer.body, "m1") == {"f:data": {"f:k": {}}}

    def test_apply_removes_everything_but_the_object(self, api: Rest, path: str) -> None:
        body = configmap("a", data={"k": "1"})
        body["metadata"] |= {"labels": {"x": "y"}, "annotations": {"a": "b"}}
        before = _apply(api, path, body, "m1").body
        answer = _apply(api, path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, "m1")
        assert answer.status == 200, answer.text
        assert answer.body["metadata"]["uid"] == before["metadata"]["uid"]
        assert {"labels", "annotations", "managedFields"} & answer.body["metadata"].keys() == set()
        assert "data" not in answer.body


class TestStructs:
    def test_omitted_struct_is_removed_with_its_defaults(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        main = body["spec"]["template"]["spec"]["containers"][0]
        main["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 8080}}
        (before, *_) = _apply(api, path, body).body["spec"]["template"]["spec"]["containers"]
        assert before["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
        main["readinessProbe"] = {"tcpSocket": {"port": 8080}}
        answer = _apply(api, path, body)
        assert answer.status == 200, answer.text
        (after, *_) = answer.body["spec"]["template"]["spec"]["containers"]
        assert (after["readinessProbe"]["tcpSocket"], "httpGet" in after["readinessProbe"]) == ({"port": 8080}, False)

    def test_omitted_struct_keeps_the_part_of_another_manager(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        body["spec"]["template"]["spec"]["securityContext"] = {"runAsUser": 7, "runAsNonRoot": True}
        _apply(api, path, body)
        theirs = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}}
        part = {"spec": {"template": {"spec": {"securityContext": {"fsGroup": 9}}}}}
        assert _apply(api, path, {**theirs, **part}, "theirs").status == 200
        del body["spec"]["template"]["spec"]["securityContext"]
        assert _apply(api, path, body).body["spec"]["template"]["spec"]["securityContext"] == {"fsGroup": 9}


class TestLists:
    def test_containers_merge_by_name(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        answer = _apply(api, path, body)
        assert answer.status == 201, answer.text
        owned = _owned(answer.body, "panel")["f:spec"]["f:template"]["f:spec"]["f:containers"]
        assert set(owned) == {'k:{"name":"main"}', 'k:{"name":"side"}'}
        assert 'k:{"name":"A"}' in owned['k:{"name":"main"}']["f:env"]
        assert 'k:{"containerPort":8080,"protocol":"TCP"}' in owned['k:{"name":"main"}']["f:ports"]

    def test_omitted_variable_is_removed(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        _apply(api, path, body)
        body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "9"}]
        containers = _apply(api, path, body).body["spec"]["template"]["spec"]["containers"]
        assert containers[0]["env"] == [{"name": "B", "value": "9"}]

    def test_container_of_another_manager_is_kept(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        _apply(api, path, body)
        sidecar = {"name": "theirs", "image": "registry.invalid/theirs:1"}
        theirs = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "spec": {"template": {"spec": {"containers": [sidecar]}}},
        }
        assert _apply(api, path, {**theirs, "metadata": {"name": "web"}}, "injector").status == 200
        containers = _apply(api, path, body).body["spec"]["template"]["spec"]["containers"]
        assert {container["name"] for container in containers} == {"main", "side", "theirs"}

    def test_conflict_in_a_list_names_the_key(self, api: Rest, place: Place) -> None:
        path = place.apps("statefulsets", "web")
        body = statefulset("web")
        _apply(api, path, body, "first")
        body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.invalid/main:2"
        answer = _apply(api, path, body, "second")
        assert answer.status == 409
        assert [cause.field for cause in answer.causes] == ['.spec.template.spec.containers[name="main"].image']

    def test_each_finalizer_has_its_owners(self, api: Rest, path: str) -> None:
        one = {**configmap("a"), "metadata": {"name": "a", "finalizers": ["contract.invalid/one"]}}
        two = {**configmap("a"), "metadata": {"name": "a", "finalizers": ["contract.invalid/two"]}}
        _apply(api, path, one, "first")
        answer = _apply(api, path, two, "second")
        assert sorted(answer.body["metadata"]["finalizers"]) == ["contract.invalid/one", "contract.invalid/two"]
        answer = _apply(api, path, configmap("a"), "first")
        assert answer.body["metadata"]["finalizers"] == ["contract.invalid/two"]
        assert "finalizers" not in _apply(api, path, configmap("a"), "second").body["metadata"]


class TestRules:
    def test_field_manager_is_required(self, api: Rest, path: str) -> None:
        answer = api.apply(path, configmap("a"))
        message = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        assert refusal(answer) == (422, "Invalid", message)
        assert answer.causes == [
            Cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
        ]

    def test_force_is_refused_except_for_apply(self, api: Rest, place: Place, path: str) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.merge(path, {"data": {"k": "1"}}, force=True)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueForbidden", "force")]

    def test_managed_fields_are_refused(self, api: Rest, path: str) -> None:
        body = _apply(api, path, configmap("a", data={"k": "1"})).body
        answer = _apply(api, path, body)
        assert refusal(answer) == (400, "BadRequest", "metadata.managedFields must be nil")

    def test_kind_is_required(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, {"metadata": {"name": "a"}, "data": {"k": "1"}})
        assert refusal(answer) == (400, "BadRequest", "invalid object type: /, Kind=")

    def test_different_kind_is_refused(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, {**configmap("a"), "kind": "Secret"})
        assert refusal(answer) == (400, "BadRequest", "invalid object type: /v1, Kind=Secret")

    def test_wrong_json_type_is_500(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, configmap("a", data={"k": 1}))
        status, reason, message = refusal(answer)
        assert (status, reason) == (500, None)
        assert message.startswith("failed to create typed patch object (")
        assert ".data.k: expected string, got " in message

    def test_different_name_is_refused(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, configmap("b"))
        message = "the name of the object (b) does not match the name on the URL (a)"
        assert refusal(answer) == (400, "BadRequest", message)

    def test_uid_of_another_object_is_refused(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}))
        answer = _apply(api, path, {**configmap("a", data={"k": "2"}), "metadata": {"name": "a", "uid": "other"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert {cause.field for cause in answer.causes} == {"metadata.uid"}

    def test_apply_with_a_uid_creates_nothing(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, {**configmap("a", data={"k": "2"}), "metadata": {"name": "a", "uid": "gone"}})
        message = (
            'Operation cannot be fulfilled on configmaps "a": '
            "uid mismatch: the provided object specified uid gone, and no existing object was found"
        )
        assert refusal(answer) == (409, "Conflict", message)
        assert api.get(path).status == 404

    def test_old_resource_version_is_a_conflict(self, api: Rest, path: str) -> None:
        _apply(api, path, configmap("a", data={"k": "1"}))
        body = {**configmap("a", data={"k": "2"}), "metadata": {"name": "a", "resourceVersion": "1"}}
        answer = _apply(api, path, body)
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert "the object has been modified" in answer.message

    def test_unknown_field_is_refused(self, api: Rest, path: str) -> None:
        """Apply needs to know the type of each field, whatever fieldValidation says."""
        answer = _apply(api, path, configmap("a", nope=1))
        assert answer.status == 500
        assert "field not declared in schema" in answer.message

    def test_invalid_value_is_422(self, api: Rest, path: str) -> None:
        answer = _apply(api, path, configmap("a", data={"bad key": "1"}))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["data[bad key]"]

    def test_status_has_separate_managers(self, api: Rest, place: Place) -> None:
        api.create(place.apps("statefulsets"), statefulset("web"), fieldManager="panel")
        body = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web"},
            "status": {"replicas": 0, "observedGeneration": 1},
        }
        answer = _apply(api, place.apps("statefulsets", "web", "status"), body, "controller", force=True)
        assert answer.status == 200
        (entry,) = (e for e in answer.body["metadata"]["managedFields"] if e["manager"] == "controller")
        assert (entry["subresource"], entry["operation"]) == ("status", "Apply")
