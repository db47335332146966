"""Dry runs, and the validation of unknown and repeated fields."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import configmap, service, statefulset
from tests.support.rest import JSON_PATCH, STRATEGIC_PATCH, Rest, refusal


class TestDryRun:
    def test_dry_run_of_a_create_stores_nothing(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), configmap("a", data={"k": "v"}), dryRun="All")
        assert answer.status == 201
        assert answer.body["data"] == {"k": "v"}
        assert answer.body["metadata"]["uid"]
        assert "resourceVersion" not in answer.body["metadata"]
        assert api.get(place.core("configmaps", "a")).status == 404

    def test_dry_run_of_an_existing_name_is_refused(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        assert api.post(place.core("configmaps"), configmap("a"), dryRun="All").reason == "AlreadyExists"

    def test_dry_run_of_an_invalid_object_is_refused(self, api: Rest, place: Place) -> None:
        assert api.post(place.core("configmaps"), configmap("Bad_"), dryRun="All").reason == "Invalid"

    def test_dry_run_fills_in_defaults(self, api: Rest, place: Place) -> None:
        stored = api.create(place.apps("statefulsets"), statefulset("web"), dryRun="All")
        assert stored["spec"]["podManagementPolicy"] == "OrderedReady"

    def test_dry_run_assigns_an_address(self, api: Rest, place: Place) -> None:
        assert api.create(place.core("services"), service("web"), dryRun="All")["spec"]["clusterIP"]
        assert api.get(place.core("services", "web")).status == 404

    @pytest.mark.parametrize("kind", ["put", "merge", "json", "strategic", "apply"])
    def test_dry_run_of_a_change_stores_nothing(self, api: Rest, place: Place, kind: str) -> None:
        before = api.create(place.core("configmaps"), configmap("a", data={"k": "1"}))
        path = place.core("configmaps", "a")
        match kind:
            case "put":
                answer = api.put(path, configmap("a", data={"k": "2"}), dryRun="All")
            case "merge":
                answer = api.merge(path, {"data": {"k": "2"}}, dryRun="All")
            case "json":
                operations = [{"op": "replace", "path": "/data/k", "value": "2"}]
                answer = api.patch(path, operations, JSON_PATCH, dryRun="All")
            case "strategic":
                answer = api.patch(path, {"data": {"k": "2"}}, STRATEGIC_PATCH, dryRun="All")
            case _:
                body = configmap("a", data={"k": "2"})
                answer = api.apply(path, body, dryRun="All", fieldManager="panel", force=True)
        assert (answer.status, answer.body["data"]) == (200, {"k": "2"})
        assert api.read(path) == before

    def test_dry_run_of_an_apply_creates_nothing(self, api: Rest, place: Place) -> None:
        path = place.core("configmaps", "a")
        assert api.apply(path, configmap("a"), dryRun="All", fieldManager="panel").status == 201
        assert api.get(path).status == 404

    def test_dry_run_of_a_delete_deletes_nothing(self, api: Rest, place: Place) -> None:
        before = api.create(place.core("configmaps"), configmap("a"))
        assert api.delete(place.core("configmaps", "a"), dryRun="All").status == 200
        assert api.read(place.core("configmaps", "a")) == before

    def test_body_of_a_delete_can_request_a_dry_run(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        assert api.delete(place.core("configmaps", "a"), {"dryRun": ["All"]}).status == 200
        assert api.get(place.core("configmaps", "a")).status == 200

    def test_dry_run_sends_no_watch_event(self, api: Rest, place: Place) -> None:
        start = api.get(place.core("secrets")).body["metadata"]["resourceVersion"]
        api.post(place.core("secrets"), {"metadata": {"name": "dry"}}, dryRun="All")
        api.create(place.core("secrets"), {"metadata": {"name": "wet"}})
        (event,) = api.watched(place.core("secrets"), 1, resourceVersion=start)
        assert event["object"]["metadata"]["name"] == "wet"


class TestFieldValidation:
    BODY = {"metadata": {"name": "a", "nope": 1}, "spec": {}}

    def test_unknown_field_is_a_warning_by_default(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), self.BODY)
        assert answer.status == 201
        assert answer.warnings == ['unknown field "metadata.nope"', 'unknown field "spec"']
        assert "spec" not in answer.body

    def test_strict_validation_refuses_unknown_fields(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), self.BODY, fieldValidation="Strict")
        message = (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
            'strict decoding error: unknown field "metadata.nope", unknown field "spec"'
        )
        assert refusal(answer) == (400, "BadRequest", message)
        assert api.get(place.core("configmaps", "a")).status == 404

    def test_ignored_fields_cause_no_warning(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), self.BODY, fieldValidation="Ignore")
        assert (answer.status, answer.warnings) == (201, [])

    def test_repeated_field_is_reported(self, api: Rest, place: Place) -> None:
        text = '{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
        answer = api.post(place.core("configmaps"), text)
        assert (answer.status, answer.warnings) == (201, ['duplicate field "data.k"'])
        assert answer.body["data"] == {"k": "2"}
        strict = api.post(place.core("configmaps"), text, fieldValidation="Strict")
        assert strict.message.endswith('strict decoding error: duplicate field "data.k"')

    def test_unknown_field_in_a_list_has_its_path(self, api: Rest, place: Place) -> None:
        body = statefulset("web")
        body["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
        answer = api.post(place.apps("statefulsets"), body)
        assert answer.warnings == ['unknown field "spec.template.spec.containers[0].imagee"']

    def test_put_is_validated(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        path = place.core("configmaps", "a")
        assert api.put(path, configmap("a", nope=1)).warnings == ['unknown field "nope"']
        assert api.put(path, configmap("a", nope=1), fieldValidation="Strict").status == 400

    def test_merge_patch_is_validated(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        path = place.core("configmaps", "a")
        assert api.merge(path, {"nope": 1}).warnings == ['unknown field "nope"']
        strict = api.merge(path, {"nope": 1}, fieldValidation="Strict")
        assert (strict.status, strict.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in strict.causes] == [("FieldValueInvalid", "patch")]
        assert strict.message.endswith('strict decoding error: unknown field "nope"')

    def test_json_patch_is_validated(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        operations = [{"op": "add", "path": "/nope", "value": 1}]
        path = place.core("configmaps", "a")
        assert api.patch(path, operations, JSON_PATCH).warnings == ['unknown field "nope"']
        assert api.patch(path, operations, JSON_PATCH, fieldValidation="Strict").status == 422

    def test_known_fields_cause_no_warning(self, api: Rest, place: Place) -> None:
        answer = api.post(place.apps("statefulsets"), statefulset("web"), fieldValidation="Strict")
        assert (answer.status, answer.warnings) == (201, [])
