"""Refusals: the status, reason, message and details that clients distinguish."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Place
from tests.contract.objects import configmap
from tests.support.rest import APPLY_PATCH, JSON, MERGE_PATCH, Answer, Rest, Verb, refusal

NO_SUCH_RESOURCE = "the server could not find the requested resource"
NO_SUCH_METHOD = "the server does not allow this method on the requested resource"


def _unrecognized(answer: Answer) -> bool:
    return answer.message.startswith("the object provided is unrecognized (must be of type ConfigMap)")


class TestNotFound:
    @pytest.mark.parametrize(
        ("group_version", "plural", "details"),
        [
            ("v1", "configmaps", {"name": "nope", "kind": "configmaps"}),
            ("v1", "secrets", {"name": "nope", "kind": "secrets"}),
            ("v1", "pods", {"name": "nope", "kind": "pods"}),
            ("apps/v1", "statefulsets", {"name": "nope", "group": "apps", "kind": "statefulsets"}),
            ("networking.k8s.io/v1", "ingresses", {"name": "nope", "group": "networking.k8s.io", "kind": "ingresses"}),
        ],
    )
    @pytest.mark.parametrize("verb", ["GET", "DELETE", "PATCH"])
    def test_missing_object_is_404(
        self, api: Rest, place: Place, group_version: str, plural: str, details: dict[str, str], verb: Verb
    ) -> None:
        path = place.path(group_version, plural, "nope")
        answer = api.call(verb, path, {} if verb == "PATCH" else None, content_type=MERGE_PATCH)
        qualified = plural if group_version == "v1" else f"{plural}.{details['group']}"
        assert refusal(answer) == (404, "NotFound", f'{qualified} "nope" not found')
        assert answer.details == details

    def test_put_creates_no_missing_object(self, api: Rest, place: Place) -> None:
        answer = api.put(place.core("configmaps", "nope"), configmap("nope"))
        assert refusal(answer) == (404, "NotFound", 'configmaps "nope" not found')

    @pytest.mark.parametrize("path", ["/api/v1/nopes", "/apis/apps/v9/statefulsets", "/apis/apps/v1/nopes"])
    def test_unknown_resource_or_version_is_404(self, api: Rest, path: str) -> None:
        assert refusal(api.get(path)) == (404, "NotFound", NO_SUCH_RESOURCE)

    def test_unknown_resource_in_a_namespace_is_404(self, api: Rest, place: Place) -> None:
        assert refusal(api.get(place.core("nopes"))) == (404, "NotFound", NO_SUCH_RESOURCE)

    def test_status_of_a_kind_without_status_is_404(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        assert refusal(api.get(place.core("configmaps", "a", "status"))) == (404, "NotFound", NO_SUCH_RESOURCE)

    def test_unknown_subresource_is_404(self, api: Rest, place: Place) -> None:
        assert refusal(api.get(place.core("pods", "a", "nope"))) == (404, "NotFound", NO_SUCH_RESOURCE)

    def test_missing_namespace_is_404(self, api: Rest) -> None:
        answer = api.get("/api/v1/namespaces/contract-nope")
        assert refusal(answer) == (404, "NotFound", 'namespaces "contract-nope" not found')
        assert answer.details == {"name": "contract-nope", "kind": "namespaces"}

    def test_list_in_a_missing_namespace_is_empty(self, api: Rest) -> None:
        answer = api.get("/api/v1/namespaces/contract-nope/configmaps")
        assert (answer.status, answer.body["items"]) == (200, [])

    def test_create_in_a_missing_namespace_is_404(self, api: Rest) -> None:
        answer = api.post("/api/v1/namespaces/contract-nope/configmaps", configmap("a"))
        assert refusal(answer) == (404, "NotFound", 'namespaces "contract-nope" not found')


class TestUnauthorized:
    @pytest.mark.parametrize("path", ["/version", "/api/v1/namespaces", "/api", "/apis/apps/v1/statefulsets"])
    @pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer a.b.c"])
    def test_wrong_token_is_401_everywhere(self, anonymous: Rest, path: str, authorization: str) -> None:
        answer = anonymous.call("GET", path, headers={"Authorization": authorization})
        assert refusal(answer) == (401, "Unauthorized", "Unauthorized")
        assert "details" not in answer.body

    def test_request_without_a_token_is_anonymous(self, anonymous: Rest, place: Place) -> None:
        answer = anonymous.get(place.core("configmaps"))
        message = (
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" '
            f'in API group "" in the namespace "{place.name}"'
        )
        assert refusal(answer) == (403, "Forbidden", message)

    def test_anonymous_user_can_read_version_and_health(self, anonymous: Rest) -> None:
        assert anonymous.get("/version").status == 200
        assert anonymous.get("/readyz").status == 200

    def test_anonymous_user_can_not_discover(self, anonymous: Rest) -> None:
        answer = anonymous.get("/api")
        assert refusal(answer) == (403, "Forbidden", 'forbidden: User "system:anonymous" cannot get path "/api"')


class TestMethodNotAllowed:
    @pytest.mark.parametrize(
        ("verb", "rest"),
        [("POST", ["a"]), ("PUT", []), ("PATCH", []), ("OPTIONS", [])],
        ids=["POST to an object", "PUT to a collection", "PATCH to a collection", "OPTIONS"],
    )
    def test_wrong_verb_is_405(self, api: Rest, place: Place, verb: Verb, rest: list[str]) -> None:
        answer = api.call(verb, place.core("configmaps", *rest), {}, content_type=JSON)
        assert refusal(answer) == (405, "MethodNotAllowed", NO_SUCH_METHOD)

    def test_namespaces_have_no_delete_collection(self, api: Rest) -> None:
        answer = api.delete("/api/v1/namespaces", labelSelector="contract=nothing-has-this")
        assert refusal(answer) == (405, "MethodNotAllowed", NO_SUCH_METHOD)

    def test_reviews_can_not_be_listed(self, api: Rest) -> None:
        answer = api.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        assert refusal(answer) == (405, "MethodNotAllowed", NO_SUCH_METHOD)


class TestMediaTypes:
    def test_unknown_accept_is_406(self, api: Rest, place: Place) -> None:
        answer = api.call("GET", place.core("configmaps"), accept="text/html")
        assert answer.status == 406
        assert answer.reason == "NotAcceptable"

    @pytest.mark.parametrize(
        "accept", ["*/*", "application/vnd.nope+json, application/json;q=0.5", "text/html, application/json"]
    )
    def test_json_is_chosen_from_the_accepted_types(self, api: Rest, place: Place, accept: str) -> None:
        answer = api.call("GET", place.core("configmaps"), accept=accept)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")

    def test_unknown_type_of_a_body_is_415(self, api: Rest, place: Place) -> None:
        answer = api.call("POST", place.core("configmaps"), "metadata: {name: a}", content_type="text/plain")
        status, reason, message = refusal(answer)
        assert (status, reason) == (415, "UnsupportedMediaType")
        assert message.startswith("the body of the request was in an unknown format - accepted media types include: ")

    def test_unknown_type_of_a_patch_is_415(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.patch(place.core("configmaps", "a"), {}, JSON)
        assert refusal(answer) == (415, "UnsupportedMediaType", "415: Unsupported Media Type")

    def test_body_can_be_yaml(self, api: Rest, place: Place) -> None:
        text = "metadata:\n  name: a\ndata:\n  k: v\n"
        answer = api.call("POST", place.core("configmaps"), text, content_type="application/yaml")
        assert (answer.status, answer.body["data"]) == (201, {"k": "v"})

    def test_answer_can_be_yaml(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a", data={"k": "v"}))
        answer = api.call("GET", place.core("configmaps", "a"), accept="application/yaml")
        assert answer.headers["Content-Type"] == "application/yaml"
        assert "\ndata:\n  k: v\nkind: ConfigMap\n" in answer.text


class TestBadBodies:
    @pytest.mark.parametrize("text", ["{nope", "", "[]"])
    def test_body_that_is_not_an_object_is_400(self, api: Rest, place: Place, text: str) -> None:
        answer = api.post(place.core("configmaps"), text)
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert _unrecognized(answer), answer.message

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            ({"data": {"k": 1}}, "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
            ({"data": {"k": True}}, "json: cannot unmarshal bool into Go struct field ConfigMap.data of type string"),
            (
                {"data": []},
                "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string",
            ),
            (
                {"data": "x"},
                "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
            ),
            ({"immutable": "x"}, "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"),
            (
                {"metadata": {"name": "a", "labels": {"x": 1}}},
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
        ],
    )
    def test_wrong_json_type_is_400(self, api: Rest, place: Place, body: dict[str, object], complaint: str) -> None:
        answer = api.post(place.core("configmaps"), {"metadata": {"name": "a"}, **body})
        prefix = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
        assert refusal(answer) == (400, "BadRequest", prefix + complaint)

    def test_different_kind_is_400(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), {**configmap("a"), "kind": "Secret"})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith('Secret in version "v1" cannot be handled as a ConfigMap: ')

    def test_different_version_is_400(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), {**configmap("a"), "apiVersion": "v2"})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith('ConfigMap in version "v2" cannot be handled as a ConfigMap: ')

    def test_kind_and_version_are_optional(self, api: Rest, place: Place) -> None:
        stored = api.create(place.core("configmaps"), {"metadata": {"name": "a"}})
        assert (stored["apiVersion"], stored["kind"]) == ("v1", "ConfigMap")

    def test_body_of_another_namespace_is_400(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), {"metadata": {"name": "a", "namespace": "other"}})
        expected = "the namespace of the provided object does not match the namespace sent on the request"
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_body_over_three_megabytes_is_413(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), configmap("a", data={"k": "x" * (3 * 1024 * 1024 + 1)}))
        expected = "Request entity too large: limit is 3145728"
        assert refusal(answer) == (413, "RequestEntityTooLarge", expected)

    def test_configmap_over_one_megabyte_is_422(self, api: Rest, place: Place) -> None:
        answer = api.post(place.core("configmaps"), configmap("a", data={"k": "x" * (1024 * 1024 + 1)}))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].reason == "FieldValueTooLong"

    def test_apply_that_is_not_yaml_is_400(self, api: Rest, place: Place) -> None:
        answer = api.call(
            "PATCH",
            place.core("configmaps", "a"),
            "{nope: [",
            content_type=APPLY_PATCH,
            params={"fieldManager": "contract"},
        )
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert answer.message.startswith("error decoding YAML: ")


class TestBadOptions:
    @pytest.mark.parametrize(
        ("params", "kind", "field", "complaint"),
        [
            ({"dryRun": "Some"}, "CreateOptions", "dryRun", 'Unsupported value: ["Some"]: supported values: "All"'),
            (
                {"fieldValidation": "Often"},
                "CreateOptions",
                "fieldValidation",
                'Unsupported value: "Often": supported values: "", "Ignore", "Strict", "Warn"',
            ),
        ],
    )
    def test_invalid_options_of_a_create_are_422(
        self, api: Rest, place: Place, params: dict[str, str], kind: str, field: str, complaint: str
    ) -> None:
        answer = api.post(place.core("configmaps"), configmap("a"), **params)
        assert refusal(answer) == (422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {field}: {complaint}')
        assert [(cause.reason, cause.field) for cause in answer.causes] == [("FieldValueNotSupported", field)]
        assert answer.details["group"] == "meta.k8s.io"

    def test_invalid_options_of_a_delete_are_422(self, api: Rest, place: Place) -> None:
        api.create(place.core("configmaps"), configmap("a"))
        answer = api.delete(place.core("configmaps", "a"), propagationPolicy="Sideways")
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field) for cause in answer.causes] == [
            ("FieldValueNotSupported", "propagationPolicy")
        ]
        assert api.get(place.core("configmaps", "a")).status == 200

    def test_option_that_is_not_a_number_is_400(self, api: Rest, place: Place) -> None:
        assert (api.get(place.core("configmaps"), limit="many").status) == 400
        api.create(place.core("configmaps"), configmap("a"))
        assert api.delete(place.core("configmaps", "a"), gracePeriodSeconds="long").status == 400
