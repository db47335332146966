"""A custom resource, in a group that only the tests use, whose schema has one field of each type."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.conftest import Place
from tests.contract.definitions import Resource, installed
from tests.support.rest import Object, Rest

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


def widget_definition(group: str) -> Object:
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


def new_group() -> str:
    return f"g{uuid.uuid4().hex[:8]}.contract.invalid"


@pytest.fixture(scope="session")
def widgets(api: Rest) -> Iterator[Resource]:
    with installed(api, widget_definition(new_group())) as resource:
        yield resource


@pytest.fixture
def path(widgets: Resource, place: Place) -> str:
    return widgets.path(place)


@pytest.fixture
def one(api: Rest, widgets: Resource, path: str) -> str:
    """Create the Widget `a` of size 1; return its path."""
    api.create(path, widgets.body("a", {"size": 1}))
    return f"{path}/a"
