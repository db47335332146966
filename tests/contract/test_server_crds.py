"""Custom resources: how a definition is served, and what its schema refuses, prunes and fills in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.conftest import Place, eventually
from tests.contract.definitions import DEFINITIONS, Resource, installed
from tests.contract.objects import GONE, changed
from tests.contract.rest import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH, Object, Rest, refusal

UNCHECKED = (
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
"""Added to errors that keep CEL rules from being evaluated."""

SPEC_SCHEMA = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "x-kubernetes-list-type": "set"},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
            },
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "either": {"x-kubernetes-int-or-string": True},
        "fixed": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is immutable"}],
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "nul": {"type": "string", "nullable": True},
    },
}
STATUS_SCHEMA = {"type": "object", "properties": {"phase": {"type": "string"}}}


def _definition(group: str) -> Object:
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": SPEC_SCHEMA, "status": STATUS_SCHEMA}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    names = {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
        "shortNames": ["wd"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _new_group() -> str:
    return f"g{uuid.uuid4().hex[:8]}.contract.invalid"


@pytest.fixture(scope="session")
def widgets(api: Rest) -> Iterator[Resource]:
    with installed(api, _definition(_new_group())) as resource:
        yield resource


@pytest.fixture
def path(widgets: Resource, place: Place) -> str:
    return widgets.path(place)


@pytest.fixture
def one(api: Rest, widgets: Resource, path: str) -> str:
    """The path of a Widget `a` of size 1."""
    api.create(path, widgets.body("a", {"size": 1}))
    return f"{path}/a"


class TestDefinitions:
    def test_a_served_kind_is_discovered(self, api: Rest, widgets: Resource) -> None:
        resources = {item["name"]: item for item in api.read(f"/apis/{widgets.group}/v1")["resources"]}
        assert set(resources) == {"widgets", "widgets/status"}
        widget = resources["widgets"]
        assert (widget["kind"], widget["singularName"], widget["namespaced"]) == ("Widget", "widget", True)
        assert widget["shortNames"] == ["wd"]
        assert set(widget["verbs"]) == {
            "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
        }  # fmt: skip
        assert resources["widgets/status"]["verbs"] == ["get", "patch", "update"]

    def test_its_group_is_discovered(self, api: Rest, widgets: Resource) -> None:
        assert api.read(f"/apis/{widgets.group}")["preferredVersion"]["version"] == "v1"
        assert widgets.group in {group["name"] for group in api.read("/apis")["groups"]}

    def test_a_definition_tells_its_state(self, api: Rest, widgets: Resource) -> None:
        status = api.read(f"{DEFINITIONS}/widgets.{widgets.group}")["status"]
        assert {item["type"]: item["status"] for item in status["conditions"]} == {
            "NamesAccepted": "True",
            "Established": "True",
        }
        assert status["acceptedNames"]["kind"] == "Widget"
        assert status["storedVersions"] == ["v1"]

    def test_defaults_of_a_definition(self, api: Rest, widgets: Resource) -> None:
        assert api.read(f"{DEFINITIONS}/widgets.{widgets.group}")["spec"]["conversion"] == {"strategy": "None"}

    def test_a_removed_definition_takes_its_objects_along(self, api: Rest, place: Place) -> None:
        group = _new_group()
        with installed(api, _definition(group)) as resource:
            api.create(resource.path(place), resource.body("a", {"size": 1}))
        eventually(lambda: api.get(resource.path(place)), lambda answer: answer.status == 404)
        with installed(api, _definition(group)):
            assert api.get(resource.path(place)).names == []

    def test_the_name_is_plural_and_group(self, api: Rest) -> None:
        answer = api.post(DEFINITIONS, changed(_definition(_new_group()), "metadata.name", "x"))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.message.endswith('metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group')

    def test_a_schema_is_required(self, api: Rest) -> None:
        body = changed(_definition(_new_group()), "spec.versions.0.schema", GONE)
        answer = api.post(DEFINITIONS, body)
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["spec.versions[0].schema.openAPIV3Schema"]


class TestSchema:
    @pytest.mark.parametrize(
        ("spec", "causes"),
        [
            ({}, [("FieldValueRequired", "spec.size", "Required value"), UNCHECKED]),
            ({"size": None}, [("FieldValueRequired", "spec.size", "Required value"), UNCHECKED]),
            (
                {"size": "1"},
                [
                    (
                        "FieldValueTypeInvalid",
                        "spec.size",
                        'Invalid value: "string": spec.size in body must be of type integer: "string"',
                    ),
                    UNCHECKED,
                ],
            ),
            (
                {"size": 0},
                [
                    (
                        "FieldValueInvalid",
                        "spec.size",
                        "Invalid value: 0: spec.size in body should be greater than or equal to 1",
                    )
                ],
            ),
            (
                {"size": 10},
                [
                    (
                        "FieldValueInvalid",
                        "spec.size",
                        "Invalid value: 10: spec.size in body should be less than or equal to 9",
                    )
                ],
            ),
            (
                {"size": 1, "color": "green"},
                [
                    (
                        "FieldValueNotSupported",
                        "spec.color",
                        'Unsupported value: "green": supported values: "red", "blue"',
                    ),
                    UNCHECKED,
                ],
            ),
            (
                {"size": 1, "name": "A1"},
                [
                    (
                        "FieldValueInvalid",
                        "spec.name",
                        "Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'",
                    )
                ],
            ),
            (
                {"size": 1, "name": "abcdef"},
                [("FieldValueTooLong", "spec.name", "Too long: may not be more than 5 bytes"), UNCHECKED],
            ),
            (
                {"size": 1, "tags": ["a", "b", "c"]},
                [("FieldValueTooMany", "spec.tags", "Too many: 3: must have at most 2 items"), UNCHECKED],
            ),
            (
                {"size": 1, "tags": ["a", "a"]},
                [("FieldValueDuplicate", "spec.tags[1]", 'Duplicate value: "a"')],
            ),
            (
                {"size": 1, "parts": [{"id": "a"}, {"id": "a"}]},
                [("FieldValueDuplicate", "spec.parts[1]", 'Duplicate value: {"id":"a"}')],
            ),
            (
                {"size": 1, "parts": [{}]},
                [("FieldValueRequired", "spec.parts[0].id", "Required value"), UNCHECKED],
            ),
            (
                {"size": 1, "either": True},
                [
                    (
                        "FieldValueTypeInvalid",
                        "spec.either",
                        'Invalid value: "boolean": spec.either in body must be of type integer,string: "boolean"',
                    ),
                    UNCHECKED,
                ],
            ),
            (
                {"size": 1, "labels": {"a": 1}},
                [
                    (
                        "FieldValueTypeInvalid",
                        "spec.labels.a",
                        'Invalid value: "integer": spec.labels.a in body must be of type string: "integer"',
                    ),
                    UNCHECKED,
                ],
            ),
            (
                "text",
                [
                    (
                        "FieldValueTypeInvalid",
                        "spec",
                        'Invalid value: "string": spec in body must be of type object: "string"',
                    ),
                    UNCHECKED,
                ],
            ),
        ],
    )
    def test_refuses(
        self, api: Rest, widgets: Resource, path: str, spec: object, causes: list[tuple[str, str, str]]
    ) -> None:
        answer = api.post(path, widgets.body("t", spec))
        assert (answer.status, answer.reason) == (422, "Invalid"), answer.text[:600]
        assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == causes
        assert answer.message.startswith(f'Widget.{widgets.group} "t" is invalid: ')
        assert {key: answer.details[key] for key in ("name", "group", "kind")} == {
            "name": "t",
            "group": widgets.group,
            "kind": "Widget",
        }

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ({"size": 1}, {"size": 1, "color": "red"}),
            ({"size": 1, "color": None}, {"size": 1, "color": "red"}),
            ({"size": 1, "color": "blue"}, {"size": 1, "color": "blue"}),
            ({"size": 1, "nul": None}, {"size": 1, "color": "red", "nul": None}),
            ({"size": 1, "either": "x"}, {"size": 1, "color": "red", "either": "x"}),
            ({"size": 1, "either": 1}, {"size": 1, "color": "red", "either": 1}),
            ({"size": 1, "free": {"any": [1]}}, {"size": 1, "color": "red", "free": {"any": [1]}}),
        ],
    )
    def test_stores(self, api: Rest, widgets: Resource, path: str, given: Object, stored: Object) -> None:
        assert api.create(path, widgets.body("t", given))["spec"] == stored

    @pytest.mark.parametrize(
        ("spec", "field"),
        [({"size": 1, "nope": 1}, "spec.nope"), ({"size": 1, "parts": [{"id": "a", "z": 1}]}, "spec.parts[0].z")],
    )
    def test_prunes_what_it_does_not_know(
        self, api: Rest, widgets: Resource, path: str, spec: Object, field: str
    ) -> None:
        answer = api.post(path, widgets.body("t", spec))
        assert (answer.status, answer.warnings) == (201, [f'unknown field "{field}"'])
        assert "nope" not in answer.body["spec"]
        strict = api.post(path, widgets.body("u", spec), fieldValidation="Strict")
        message = (
            f'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "{field}"'
        )
        assert refusal(strict) == (400, "BadRequest", message)

    def test_a_rule_over_time(self, api: Rest, widgets: Resource, one: str) -> None:
        assert api.merge(one, {"spec": {"fixed": "x"}}).status == 200
        answer = api.merge(one, {"spec": {"fixed": "y"}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == [
            ("FieldValueInvalid", "spec.fixed", 'Invalid value: "y": fixed is immutable')
        ]


class TestRequests:
    def test_kind_and_version_are_required(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {"metadata": {"name": "t"}, "spec": {"size": 1}})
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert "Object 'Kind' is missing in" in answer.message
        answer = api.post(path, {"kind": "Widget", "metadata": {"name": "t"}, "spec": {"size": 1}})
        expected = f"the API version in the data () does not match the expected API version ({widgets.group}/v1)"
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_another_version(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {**widgets.body("t", {"size": 1}), "apiVersion": f"{widgets.group}/v2"})
        expected = (
            f"the API version in the data ({widgets.group}/v2) "
            f"does not match the expected API version ({widgets.group}/v1)"
        )
        assert refusal(answer) == (400, "BadRequest", expected)

    def test_another_kind(self, api: Rest, widgets: Resource, path: str) -> None:
        answer = api.post(path, {**widgets.body("t", {"size": 1}), "kind": "Gadget"})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [cause.field for cause in answer.causes] == ["kind"]

    def test_a_strategic_merge_patch_is_415(self, api: Rest, one: str) -> None:
        expected = (
            "the body of the request was in an unknown format - accepted media types include: "
            f"{JSON_PATCH}, application/merge-patch+json, {APPLY_PATCH}"
        )
        answer = api.patch(one, {"spec": {"size": 2}}, STRATEGIC_PATCH)
        assert refusal(answer) == (415, "UnsupportedMediaType", expected)

    def test_a_put_needs_the_resource_version(self, api: Rest, widgets: Resource, one: str) -> None:
        answer = api.put(one, widgets.body("a", {"size": 2}))
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == [
            ("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
        ]

    def test_a_put_of_an_old_version_is_a_conflict(self, api: Rest, widgets: Resource, one: str) -> None:
        body = widgets.body("a", {"size": 2})
        body["metadata"]["resourceVersion"] = "1"
        answer = api.put(one, body)
        assert (answer.status, answer.reason) == (409, "Conflict")
        assert answer.details == {"name": "a", "group": widgets.group, "kind": "widgets"}

    def test_a_patch_that_leaves_it_invalid_is_422(self, api: Rest, one: str) -> None:
        answer = api.merge(one, {"spec": {"size": None}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].field == "spec.size"
        assert api.read(one)["spec"]["size"] == 1

    def test_items_of_a_list_carry_their_kind(self, api: Rest, one: str, path: str) -> None:
        body = api.get(path).body
        assert body["kind"] == "WidgetList"
        assert [item["kind"] for item in body["items"]] == ["Widget"]

    def test_a_field_selector_of_the_spec_is_400(self, api: Rest, one: str, path: str) -> None:
        answer = api.get(path, fieldSelector="spec.size=1")
        assert refusal(answer) == (400, "BadRequest", "field label not supported: spec.size")

    def test_a_table_has_the_columns_of_the_definition(self, api: Rest, one: str, path: str) -> None:
        body = api.call("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
        assert [column["name"] for column in body["columnDefinitions"]] == ["Name", "Size"]
        assert [row["cells"] for row in body["rows"]] == [["a", 1]]

    def test_a_watch(self, api: Rest, widgets: Resource, path: str) -> None:
        start = api.get(path).body["metadata"]["resourceVersion"]
        created = api.create(path, widgets.body("a", {"size": 1}))
        assert api.watched(path, 1, resourceVersion=start) == [{"type": "ADDED", "object": created}]

    def test_a_watch_from_long_ago_is_gone(self, api: Rest, widgets: Resource, path: str) -> None:
        """No server can replay this kind from version 1: it was defined long after."""
        api.create(path, widgets.body("a", {"size": 1}))
        (event,) = api.watched(path, 1, resourceVersion="1")
        assert event["type"] == "ERROR"
        status = event["object"]
        assert (status["kind"], status["status"]) == ("Status", "Failure")
        assert (status["code"], status["reason"]) == (410, "Expired")
        assert status["message"].startswith("too old resource version: 1 (")


class TestStatus:
    def test_a_create_drops_it(self, api: Rest, widgets: Resource, path: str) -> None:
        assert "status" not in api.create(path, widgets.body("a", {"size": 1}, status={"phase": "X"}))

    def test_the_main_resource_ignores_it(self, api: Rest, one: str) -> None:
        before = api.read(one)
        assert api.merge(one, {"status": {"phase": "X"}}).body == before

    def test_its_patch_changes_nothing_else(self, api: Rest, one: str) -> None:
        patch = {"status": {"phase": "X"}, "spec": {"size": 8}, "metadata": {"labels": {"x": "1"}}}
        assert api.merge(f"{one}/status", patch).status == 200
        stored = api.read(one)
        assert stored["status"] == {"phase": "X"}
        assert stored["spec"]["size"] == 1
        assert "labels" not in stored["metadata"]
        assert stored["metadata"]["generation"] == 1

    def test_it_is_validated(self, api: Rest, one: str) -> None:
        answer = api.merge(f"{one}/status", {"status": {"phase": 1}})
        assert (answer.status, answer.reason) == (422, "Invalid")
        assert answer.causes[0].field == "status.phase"

    def test_it_is_pruned(self, api: Rest, one: str) -> None:
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

    def test_a_conflict(self, api: Rest, widgets: Resource, path: str) -> None:
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
    def test_what_does_not_fit_the_schema_is_500(
        self, api: Rest, widgets: Resource, path: str, spec: Object, complaint: str
    ) -> None:
        answer = api.apply(f"{path}/a", widgets.body("a", spec), fieldManager="panel")
        prefix = f"failed to create typed patch object (/a; {widgets.group}/v1, Kind=Widget): "
        assert refusal(answer) == (500, None, prefix + complaint)
