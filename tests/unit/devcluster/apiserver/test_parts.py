"""Parts of the embedded API server that need no server: quantities, CEL, selectors, patches, field ownership."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.apiserver.errors import ApiError
from devcluster.apiserver.schema.quantities import QuantityError, canonical
from devcluster.apiserver.schema.resources import builtin_types
from devcluster.apiserver.schema.selectors import labels_match, parse_label_selector
from devcluster.apiserver.schema.typed_values import empty_object, field_set
from devcluster.apiserver.validation import cel, cel_functions
from devcluster.apiserver.writes.ownership import (
    Manager,
    apply_configuration,
    from_fields_v1,
    path_text,
    to_fields_v1,
)
from devcluster.apiserver.writes.patching import json_patch, merge_patch
from devcluster.apiserver.writes.strategic_merge import strategic_merge

STATEFUL_SET = builtin_types().node("apps.v1.StatefulSet")


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (1, "1"),
        (0.1, "100m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000Mi", "1000Mi"),
        ("1e3", "1e3"),
        ("0", "0"),
        ("12345678", "12345678"),
        ("1000k", "1M"),
        ("-1", "-1"),
        ("100u", "100u"),
        ("3G", "3G"),
        ("Gi", "0"),  # the real server reads a missing number as 0
        ("-", "0"),
    ],
)
def test_quantities_are_stored_in_their_canonical_form(given: str | float, stored: str) -> None:
    assert canonical(given) == stored


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "1 Gi", "1gi", "--1", "0x10"])
def test_invalid_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        canonical(text)


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("self.all(x, size(self.filter(c, c.name == x.name)) == 1)", [{"name": "a"}, {"name": "b"}], True),
        ("self.all(x, size(self.filter(c, c.name == x.name)) == 1)", [{"name": "a"}, {"name": "a"}], False),
        ("has(self.cancel) && self.cancel ? (self.type in ['Vertical', 'Horizontal']) : true", {"type": "Stop"}, True),
        ("has(self.cancel) && self.cancel ? (self.type in ['V']) : true", {"type": "Stop", "cancel": True}, False),
        ("!has(self.a) || self.a.b > 2", {"a": {"b": 3}}, True),
        ("self.matches('^[a-z]+$') && self.startsWith('ab')", "abc", True),
        ("self.size() <= 3", "abcd", False),
        ("self[0] + self[1] * 2 == 7", [1, 3], True),
        ("self.exists_one(x, x == 'a')", ["a", "a"], False),
        ("self == null || self != 'x'", "y", True),
    ],
)
def test_rules_are_evaluated(rule: str, value: Any, expected: bool) -> None:
    assert cel.compile_rule(rule)({"self": value}) is expected


def test_rule_about_a_missing_field_is_an_error() -> None:
    with pytest.raises(cel_functions.CelError):
        cel.compile_rule("self.a == 1")({"self": {}})


@pytest.mark.parametrize("rule", ["self.nope(1)", "other == 1", "self ==", "1 +* 2", "has(1)"])
def test_unsupported_rule_is_an_error(rule: str) -> None:
    with pytest.raises(cel.CelUnsupportedError):
        cel.compile_rule(rule)({"self": "x"})


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b!=2", True),
        ("a in (1,2)", True),
        ("a notin (1)", False),
        ("!c", True),
        ("b", False),
        ("n>4", True),
        ("n<5", False),
        ("a in ( 1 , 3 ),n", True),
        ("c=", False),
    ],
)
def test_label_selector_matches(selector: str, matches: bool) -> None:
    assert labels_match(parse_label_selector(selector), {"a": "1", "n": "5"}) is matches


@pytest.mark.parametrize("selector", [",", "=x", "a in b", "a in (", "a=b c", "a,", "a=b=c", "n>x", "-a=1", "a!b"])
def test_malformed_selectors_are_400(selector: str) -> None:
    with pytest.raises(ApiError) as error:
        parse_label_selector(selector)
    assert error.value.code == 400


def test_patches_do_not_change_their_arguments() -> None:
    target = {"a": {"b": [1, 2]}}
    assert merge_patch(target, {"a": {"b": None, "c": 1}}) == {"a": {"c": 1}}
    assert json_patch(target, [{"op": "add", "path": "/a/b/-", "value": 3}]) == {"a": {"b": [1, 2, 3]}}
    assert strategic_merge(target, {"a": {"$patch": "replace", "z": 1}}, None) == {"a": {"z": 1}}
    assert target == {"a": {"b": [1, 2]}}


def _stateful_set(*variables: str) -> dict[str, Any]:
    container = {"name": "main", "image": "x:1", "env": [{"name": name, "value": "1"} for name in variables]}
    return {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def _apply(live: dict[str, Any] | None, config: dict[str, Any], manager: str, *, force: bool = False) -> dict[str, Any]:
    return apply_configuration(
        live,
        config,
        STATEFUL_SET,
        Manager(manager, "apps/v1", "", "2026-01-01T00:00:00Z", frozenset({("f:status",)})),
        empty=empty_object(STATEFUL_SET),
        force=force,
    )


def _env(body: dict[str, Any]) -> list[Any]:
    env: list[Any] = body["spec"]["template"]["spec"]["containers"][0].get("env", [])
    return env


def test_field_sets_survive_serialization() -> None:
    fields = field_set(_stateful_set("A", "B"), STATEFUL_SET)
    assert from_fields_v1(to_fields_v1(frozenset(fields))) == fields


def test_variable_that_is_no_longer_applied_is_removed() -> None:
    live = _apply(None, _stateful_set("A", "EXTRA"), "panel")
    assert _env(_apply(live, _stateful_set("A"), "panel", force=True)) == [{"name": "A", "value": "1"}]


def test_field_of_another_manager_is_kept() -> None:
    live = _apply(_apply(None, _stateful_set("A", "B"), "one"), _stateful_set("B"), "two")
    assert [one["name"] for one in _env(_apply(live, _stateful_set("A"), "one"))] == ["A", "B"]


def test_conflict_names_the_field_by_its_keys() -> None:
    live = _apply(None, _stateful_set("A"), "one")
    changed = _stateful_set("A")
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "x:2"
    with pytest.raises(ApiError) as error:
        _apply(live, changed, "two")
    assert error.value.code == 409
    assert error.value.details is not None
    assert [one["field"] for one in error.value.details["causes"]] == [
        '.spec.template.spec.containers[name="main"].image'
    ]
    assert path_text(('k:{"port":1,"protocol":"TCP"}',)) == '[port=1,protocol="TCP"]'
