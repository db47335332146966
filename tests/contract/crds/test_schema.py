"""The schema of a definition: validation, pruning, defaults and CEL rules."""

from __future__ import annotations

import pytest

from tests.contract.definitions import Resource
from tests.support.rest import Object, Rest, refusal

UNCHECKED = (
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
"""Added to errors that keep CEL rules from being evaluated."""


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
def test_schema_refuses_the_value(
    api: Rest, widgets: Resource, path: str, spec: object, causes: list[tuple[str, str, str]]
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
def test_schema_stores_the_value(api: Rest, widgets: Resource, path: str, given: Object, stored: Object) -> None:
    assert api.create(path, widgets.body("t", given))["spec"] == stored


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"size": 1, "nope": 1}, "spec.nope"), ({"size": 1, "parts": [{"id": "a", "z": 1}]}, "spec.parts[0].z")],
)
def test_unknown_fields_are_pruned(api: Rest, widgets: Resource, path: str, spec: Object, field: str) -> None:
    answer = api.post(path, widgets.body("t", spec))
    assert (answer.status, answer.warnings) == (201, [f'unknown field "{field}"'])
    assert "nope" not in answer.body["spec"]
    strict = api.post(path, widgets.body("u", spec), fieldValidation="Strict")
    message = f'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "{field}"'
    assert refusal(strict) == (400, "BadRequest", message)


def test_transition_rule_sees_the_old_value(api: Rest, widgets: Resource, one: str) -> None:
    assert api.merge(one, {"spec": {"fixed": "x"}}).status == 200
    answer = api.merge(one, {"spec": {"fixed": "y"}})
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert [(cause.reason, cause.field, cause.message) for cause in answer.causes] == [
        ("FieldValueInvalid", "spec.fixed", 'Invalid value: "y": fixed is immutable')
    ]
