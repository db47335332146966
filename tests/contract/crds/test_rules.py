"""Validation rules of definitions in CEL: which values a server accepts and refuses by each rule of rules.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.contract.conftest import Place
from tests.contract.definitions import Resource, installed
from tests.support.rest import Object, Rest

STRING: Object = {"type": "string", "maxLength": 32}
SCHEMAS: dict[str, Object] = {
    "string": STRING,
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "strings": {"type": "array", "maxItems": 8, "items": STRING},
    "integers": {"type": "array", "maxItems": 8, "items": {"type": "integer"}},
    "map": {"type": "object", "maxProperties": 8, "additionalProperties": STRING},
    "object": {
        "type": "object",
        "properties": {
            "a": STRING,
            "n": {"type": "integer"},
            "my-key": STRING,
            "namespace": STRING,
            "inner": {"type": "object", "properties": {"c": STRING}},
            "port": {"x-kubernetes-int-or-string": True},
        },
    },
}
RULES: list[Object] = yaml.safe_load((Path(__file__).parent / "rules.yaml").read_text())


class Case(NamedTuple):
    field: str
    value: object
    accepted: bool


def _cases(*, transitions: bool) -> list[object]:
    return [
        pytest.param(Case(f"rule{number}", value, accepted), id=f"{rule['rule']}, {value}, {accepted}")
        for number, rule in enumerate(RULES)
        if ("oldSelf" in rule["rule"]) is transitions
        for accepted in (True, False)
        for value in rule["accepts" if accepted else "refuses"]
    ]


@pytest.fixture(scope="session")
def ruled(api: Rest) -> Iterator[Resource]:
    """A kind with a field for each rule."""
    fields = {
        f"rule{number}": SCHEMAS[rule["schema"]] | {"x-kubernetes-validations": [{"rule": rule["rule"]}]}
        for number, rule in enumerate(RULES)
    }
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    group = "rules.contract.invalid"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"ruleds.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "ruleds", "singular": "ruled", "kind": "Ruled"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    with installed(api, definition) as resource:
        yield resource


@pytest.mark.parametrize("case", _cases(transitions=False))
def test_rule_decides_about_a_new_object(api: Rest, place: Place, ruled: Resource, case: Case) -> None:
    answer = api.post(ruled.path(place), ruled.body("one", {case.field: case.value}), dryRun="All")

    assert (answer.status == 201) is case.accepted, answer.body
    if not case.accepted:
        assert {cause["field"] for cause in answer.body["details"]["causes"]} == {f"spec.{case.field}"}


@pytest.mark.parametrize("case", _cases(transitions=True))
def test_transition_rule_decides_about_a_change(api: Rest, place: Place, ruled: Resource, case: Case) -> None:
    assert isinstance(case.value, list)
    before, after = case.value
    live = api.create(ruled.path(place), ruled.body("one", {case.field: before}))

    answer = api.put(ruled.path(place, "one"), live | {"spec": {case.field: after}}, dryRun="All")

    assert (answer.status == 200) is case.accepted, answer.body
