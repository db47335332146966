"""Objects of a custom kind: how they are created, changed, listed, watched and applied."""

from __future__ import annotations

import pytest

from tests.contract.definitions import Resource
from tests.support.rest import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH, Object, Rest, refusal


class TestRequests:
    def test_kind_and_version_are_required(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {"metadata": {"name": "t"}, "spec": {"size": 1}})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert "Object 'Kind' is missing in" in answer.message
        answer = api.post(path, {"kind": "Widget", "metadata": {"name": "t"}, "spec": {"size": 1}})
        expected = f"the API version in the data () does not match the expected API version ({widgets.group}/v1)"
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_different_version_is_400(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {**widgets.body("t", {"size": 1}), "apiVersion": f"{widgets.group}/v2"})
        expected = (
            f"the API version in the data ({widgets.group}/v2) "
            f"does not match the expected API version ({widgets.group}/v1)"
        )
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_different_kind_is_400(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {**widgets.body("t", {"size": 1}), "kind": "Gadget"})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["kind"]

    def test_strategic_merge_patch_is_415(self, api: Rest, one: str) -> None:
        expected = (
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON_PATCH}, application/merge-patch+json, {APPLY_PATCH}"
        )
        answer = api.patch(one, {"spec": {"size": 2}}, STRATEGIC_PATCH)
        assert refusal(answer) == (415, "UnsupportedMediaType", expected)

    def test_put_needs_the_resource_version(self, api: Rest, widgets: Resource, one: str) -> None:
        answer = api.put(one, widgets.body("a", {"size": 2}))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == [
            ("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
        ]

    def test_put_of_an_old_version_is_a_conflict(self, api: Rest, widgets: Resource, one: str) -> None:
        body = widgets.body("a", {"size": 2})
        body["metadata"]["resourceVersion"] = "1"
        answer = api.put(one, body)
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert answer.details == {"name": "a", "group": widgets.group, "kind": "widgets"}

    def test_patch_to_an_invalid_object_is_422(self, api: Rest, one: str) -> None:
        answer = api.merge(one, {"spec": {"size": None}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].field == "spec.size"
        assert api.read(one)["spec"]["size"] == 1

    def test_items_of_a_list_have_their_kind(self, api: Rest, one: str, path: str) -> None:
        body = api.get(path).body
        assert body["kind"] == "WidgetList"
        assert [item["kind"] for item in body["items"]] == ["Widget"]

    def test_field_selector_of_the_spec_is_400(self, api: Rest, one: str, path: str) -> None:
        answer = api.get(path, fieldSelector="spec.size=1")
        assert refusal(answer) == (400, "BadRequest", "field label not supported: spec.size")

    def test_table_has_the_columns_of_the_definition(self, api: Rest, one: str, path: str) -> None:
        body = api.call("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
        assert [column["name"] for column in body["columnDefinitions"]] == ["Name", "Size"]
        assert [row["cells"] for row in body["rows"]] == [["a", 1]]

    def test_watch_sends_a_new_object(self, api: Rest, widgets: Resource, path: str) -> None:
        start = api.get(path).body["metadata"]["resourceVersion"]
        created = api.create(path, widgets.body("a", {"size": 1}))
        assert api.watched(path, 1, resourceVersion=start) == [{"type": "ADDED", "object": created}]

    def test_watch_of_an_old_version_is_gone(self, api: Rest, widgets: Resource, path: str) -> None:
        """No server can replay this kind from version 1: it was defined long after."""
        api.create(path, widgets.body("a", {"size": 1}))
        (event,) = api.watched(path, 1, resourceVersion="1")
        assert event["type"] == "ERROR"
        status = event["object"]
        assert (status["kind"], status["status"]) == ("Status", "Failure")
        assert (status["code"], status["reason"]) == (410, "Expired")
        assert status["message"].startswith("too old resource version: 1 (")


class TestStatus:
    def test_create_drops_the_status(self, api: Rest, widgets: Resource, path: str) -> None:
        assert "status" not in api.create(path, widgets.body("a", {"size": 1}, status={"phase": "X"}))

    def test_main_resource_ignores_the_status(self, api: Rest, one: str) -> None:
        before = api.read(one)
        assert api.merge(one, {"status": {"phase": "X"}}).body == before

    def test_patch_of_the_status_changes_nothing_else(self, api: Rest, one: str) -> None:
        patch = {"status": {"phase": "X"}, "spec": {"size": 8}, "metadata": {"labels": {"x": "1"}}}
        assert api.merge(f"{one}/status", patch).status == 200
        stored = api.read(one)
        assert stored["status"] == {"phase": "X"}
        assert stored["spec"]["size"] == 1
        assert "labels" not in stored["metadata"]
        assert stored["metadata"]["generation"] == 1

    def test_status_is_validated(self, api: Rest, one: str) -> None:
        answer = api.merge(f"{one}/status", {"status": {"phase": 1}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].field == "status.phase"

    def test_status_is_pruned(self, api: Rest, one: str) -> None:
        answer = api.merge(f"{one}/status", {"status": {"phase": "X", "nope": 1}})
        assert (answer.body["status"], answer.warnings) == ({"phase": "X"}, ['unknown field "status.nope"'])

    def test_generation_counts_changes_of_the_spec(self, api: Rest, one: str) -> None:
        seen = [
            api.merge(one, patch).body["metadata"]["generation"]
            for patch in ({"metadata": {"labels": {"x": "1"}}}, {"spec": {"size": 2}}, {"spec": {"size": 2}})
        ]
        assert seen == [1, 2, 2]


class TestApply:
    def test_lists_merge_by_their_key(self, api: Rest, widgets: Resource, path: str) -> None:
        first = widgets.body("a", {"size": 1, "parts": [{"id": "x", "n": 1}]})
        second = widgets.body("a", {"parts": [{"id": "y", "n": 2}]})
        assert api.apply(f"{path}/a", first, fieldManager="one").status == 201
        answer = api.apply(f"{path}/a", second, fieldManager="two")
        assert answer.body["spec"]["parts"] == [{"id": "x", "n": 1}, {"id": "y", "n": 2}]
        owned = {entry["manager"]: entry["fieldsV1"] for entry in answer.body["metadata"]["managedFields"]}
        assert owned["two"] == {"f:spec": {"f:parts": {'k:{"id":"y"}': {".": {}, "f:id": {}, "f:n": {}}}}}

    def test_field_of_another_manager_conflicts(self, api: Rest, widgets: Resource, path: str) -> None:
        api.apply(f"{path}/a", widgets.body("a", {"size": 1}), fieldManager="one")
        answer = api.apply(f"{path}/a", widgets.body("a", {"size": 2}), fieldManager="two")
        assert refusal(answer) == (409, "Conflict", 'Apply failed with 1 conflict: conflict with "one": .spec.size')

    @pytest.mark.parametrize(
        ("spec", "complaint"),
        [
            ({"size": "x"}, ".spec.size: expected numeric (int or float), got string"),
            ({"size": 1, "nope": 1}, ".spec.nope: field not declared in schema"),
            ({"size": 1, "parts": [{"id": "y"}, {"id": "y"}]}, '.spec.parts: duplicate entries for key [id="y"]'),
        ],
    )
    def test_value_that_does_not_fit_the_schema_is_500(
        self, api: Rest, widgets: Resource, path: str, spec: Object, complaint: str
    ) -> None:
        answer = api.apply(f"{path}/a", widgets.body("a", spec), fieldManager="panel")
        prefix = f"failed to create typed patch object (/a; {widgets.group}/v1, Kind=Widget): "
        assert refusal(answer) == (500, None, prefix + complaint)
