"""Definitions of custom resources: discovery, status, defaults and removal."""

from __future__ import annotations

from tests.contract.conftest import Place, eventually
from tests.contract.crds.conftest import new_group, widget_definition
from tests.contract.definitions import DEFINITIONS, Resource, installed
from tests.contract.objects import GONE, changed
from tests.support.rest import Rest


def test_served_kind_is_discovered(api: Rest, widgets: Resource) -> None:
    resources = {item["name"]: item for item in api.read(f"/apis/{widgets.group}/v1")["resources"]}
    assert set(resources) == {"widgets", "widgets/status"}
    widget = resources["widgets"]
    assert (widget["kind"], widget["singularName"], widget["namespaced"]) == ("Widget", "widget", True)
    assert widget["shortNames"] == ["wd"]
    assert set(widget["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert resources["widgets/status"]["verbs"] == ["get", "patch", "update"]


def test_group_is_discovered(api: Rest, widgets: Resource) -> None:
    assert api.read(f"/apis/{widgets.group}")["preferredVersion"]["version"] == "v1"
    assert widgets.group in {group["name"] for group in api.read("/apis")["groups"]}


def test_definition_has_conditions(api: Rest, widgets: Resource) -> None:
    status = api.read(f"{DEFINITIONS}/widgets.{widgets.group}")["status"]
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert status["acceptedNames"]["kind"] == "Widget"
    assert status["storedVersions"] == ["v1"]


def test_definition_has_defaults(api: Rest, widgets: Resource) -> None:
    assert api.read(f"{DEFINITIONS}/widgets.{widgets.group}")["spec"]["conversion"] == {"strategy": "None"}


def test_objects_are_deleted_with_their_definition(api: Rest, place: Place) -> None:
    group = new_group()
    with installed(api, widget_definition(group)) as resource:
        api.create(resource.path(place), resource.body("a", {"size": 1}))
    eventually(lambda: api.get(resource.path(place)), lambda answer: answer.status == 404)
    with installed(api, widget_definition(group)):
        assert api.get(resource.path(place)).names == []


def test_name_must_be_plural_and_group(api: Rest) -> None:
    answer = api.post(DEFINITIONS, changed(widget_definition(new_group()), "metadata.name", "x"))
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message.endswith('metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group')


def test_schema_is_required(api: Rest) -> None:
    body = changed(widget_definition(new_group()), "spec.versions.0.schema", GONE)
    answer = api.post(DEFINITIONS, body)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert [cause.field for cause in answer.causes] == ["spec.versions[0].schema.openAPIV3Schema"]
