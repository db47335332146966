"""Validation of custom resources against their openAPIV3Schema, and of CustomResourceDefinitions."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from devcluster.apiserver.errors import (
    Cause,
    JsonObject,
    cause_duplicate,
    cause_invalid,
    cause_not_supported,
    cause_required,
    cause_too_long,
    cause_type_invalid,
)
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.schema.types import Node
from devcluster.apiserver.validation import cel
from devcluster.apiserver.validation.cel_functions import CelError
from devcluster.apiserver.validation.names import label_faults

logger = logging.getLogger(__name__)

_BLOCKING = {
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid",
}  # fmt: skip
"""Causes after which CEL rules are not evaluated."""
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def check_custom(kind: ResourceType, body: JsonObject, live: JsonObject | None) -> list[Cause]:
    """Return the causes. `live` is the object before an update, for transition rules.

    CEL rules are evaluated only if types and required fields are correct.
    """
    causes: list[Cause] = []
    for name, child in kind.schema.properties.items():
        if name not in {"apiVersion", "kind", "metadata"} and name in body:
            _check_value(body[name], child, name, causes)
    causes += [cause_required(name) for name in kind.schema.required if name not in body]
    if any(cause["reason"] in _BLOCKING for cause in causes):
        if _has_cel(kind.schema):
            causes.append(
                {"reason": "FieldValueInvalid", "message": f"Invalid value: null: {_UNCHECKED}", "field": "<nil>"}
            )
        return causes
    _check_cel(body, live, kind.schema, "", causes)
    return causes


def _has_cel(node: Node) -> bool:
    if (node.rules or {}).get("x-kubernetes-validations"):
        return True
    children = [child for name, child in node.properties.items() if name != "metadata"]
    children += [child for child in (node.items, node.additional) if child is not None]
    return any(_has_cel(child) for child in children)


def _check_value(value: Any, node: Node, path: str, causes: list[Cause]) -> None:
    if value is None and (node.nullable or node.kind == "any"):
        return
    _check_by_type(value, node, path, causes)
    _check_enum(value, node.rules or {}, path, causes)


def _check_by_type(value: Any, node: Node, path: str, causes: list[Cause]) -> None:
    rules = node.rules or {}
    if value is None:
        causes.append(_type_cause(path, "null", node.kind))
        return
    match node.kind:
        case "object":
            if not isinstance(value, dict):
                causes.append(_type_cause(path, _json_type(value), "object"))
                return
            _check_object(value, node, path, causes)
        case "array":
            if not isinstance(value, list):
                causes.append(_type_cause(path, _json_type(value), "array"))
                return
            _check_array(value, node, path, causes)
        case "string":
            if not isinstance(value, str):
                causes.append(_type_cause(path, _json_type(value), "string"))
                return
            _check_string(value, rules, path, causes)
        case "integer":
            if isinstance(value, bool) or not (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            ):
                causes.append(_type_cause(path, _json_type(value), "integer"))
                return
            _check_number(value, rules, path, causes)
        case "number":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                causes.append(_type_cause(path, _json_type(value), "number"))
                return
            _check_number(value, rules, path, causes)
        case "boolean":
            if not isinstance(value, bool):
                causes.append(_type_cause(path, _json_type(value), "boolean"))
                return
        case "int-or-string":
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                causes.append(_type_cause(path, _json_type(value), "integer,string"))
                if rules.get("anyOf"):
                    causes.append(_nowhere(f'"{path}" must validate at least one schema (anyOf)'))
                return
            if isinstance(value, str):
                _check_string(value, rules, path, causes)
        case _:
            pass


def _check_enum(value: Any, rules: JsonObject, path: str, causes: list[Cause]) -> None:
    enum = rules.get("enum")
    if enum is not None and value not in enum:
        causes.append(cause_not_supported(path, value, [str(one) for one in enum]))
    junctions = [one for one in rules.get("allOf") or () if "enum" in one]
    failed = [one["enum"] for one in junctions if value not in one["enum"]]
    for index, allowed in enumerate(failed):
        if allowed not in failed[:index]:  # the real server drops repeated texts
            causes.append(cause_not_supported(path, value, [str(one) for one in allowed]))
    if failed:
        detail = "must validate all the schemas (allOf)." + (" None validated" if len(failed) == len(junctions) else "")
        causes.append(_nowhere(f'"{path}" {detail}'))


def _nowhere(text: str) -> Cause:
    """Return a cause without a field, as for schemas that are combined."""
    return {"reason": "FieldValueInvalid", "message": f'Invalid value: "": {text}', "field": "<nil>"}


def _check_object(value: JsonObject, node: Node, path: str, causes: list[Cause]) -> None:
    causes += [cause_required(f"{path}.{name}") for name in node.required if name not in value]
    rules = node.rules or {}
    if "maxProperties" in rules and len(value) > rules["maxProperties"]:
        causes.append(_counted(path, "Too many", len(value), rules["maxProperties"]))
    if "minProperties" in rules and len(value) < rules["minProperties"]:
        causes.append(
            cause_invalid(path, len(value), f"{path} in body should have at least {rules['minProperties']} properties")
        )
    for name, one in value.items():
        child = node.properties.get(name) or node.additional
        if child is not None:
            _check_value(one, child, f"{path}.{name}", causes)


def _check_array(value: list[Any], node: Node, path: str, causes: list[Cause]) -> None:
    rules = node.rules or {}
    if "minItems" in rules and len(value) < rules["minItems"]:
        causes.append(cause_invalid(path, len(value), f"{path} in body should have at least {rules['minItems']} items"))
    if "maxItems" in rules and len(value) > rules["maxItems"]:
        causes.append(_counted(path, "Too many", len(value), rules["maxItems"]))
    seen: list[Any] = []
    for index, one in enumerate(value):
        if node.items is not None:
            _check_value(one, node.items, f"{path}[{index}]", causes)
        if node.list_type == "atomic":
            continue
        key = (
            {name: one.get(name) for name in node.map_keys}
            if node.list_type == "map" and isinstance(one, dict)
            else one
        )
        if key in seen:
            causes.append(cause_duplicate(f"{path}[{index}]", key))
        seen.append(key)


def _counted(path: str, what: str, found: int, most: int) -> Cause:
    return {
        "reason": "FieldValueTooMany",
        "message": f"{what}: {found}: must have at most {most} items",
        "field": path,
    }


def _check_string(value: str, rules: JsonObject, path: str, causes: list[Cause]) -> None:
    if "maxLength" in rules and len(value) > rules["maxLength"]:
        causes.append(cause_too_long(path, f"may not be more than {rules['maxLength']} bytes"))
    if "minLength" in rules and len(value) < rules["minLength"]:
        causes.append(cause_invalid(path, value, f"{path} in body should be at least {rules['minLength']} chars long"))
    pattern = rules.get("pattern")
    if pattern and _compiled(pattern).search(value) is None:
        causes.append(cause_invalid(path, value, f"{path} in body should match '{pattern}'"))
    if rules.get("format") == "date-time" and not _is_moment(value):
        causes.append(cause_type_invalid(path, value, f'{path} in body must be of type date-time: "{value}"'))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    # In Go, `$` does not match before a trailing newline.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return "T" in text


def _check_number(value: float, rules: JsonObject, path: str, causes: list[Cause]) -> None:
    if "minimum" in rules and (
        value < rules["minimum"] or (rules.get("exclusiveMinimum") and value == rules["minimum"])
    ):
        word = "greater than" if rules.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(cause_invalid(path, value, f"{path} in body should be {word} {rules['minimum']}"))
    if "maximum" in rules and (
        value > rules["maximum"] or (rules.get("exclusiveMaximum") and value == rules["maximum"])
    ):
        word = "less than" if rules.get("exclusiveMaximum") else "less than or equal to"
        causes.append(cause_invalid(path, value, f"{path} in body should be {word} {rules['maximum']}"))
    if "multipleOf" in rules and value % rules["multipleOf"]:
        causes.append(cause_invalid(path, value, f"{path} in body should be a multiple of {rules['multipleOf']}"))
    if rules.get("format") == "int32" and not -(2**31) <= value < 2**31:
        causes.append(cause_invalid(path, value, f'{path} in body must be of type int32: "{value}"'))


def _type_cause(path: str, given: str, wanted: str) -> Cause:
    return cause_type_invalid(path, given, f'{path} in body must be of type {wanted}: "{given}"')


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


# CEL


def _check_cel(value: Any, old: Any, node: Node, path: str, causes: list[Cause]) -> None:
    """Return the causes of CEL rules. `old` is the value before the update; None if there was none."""
    for rule in (node.rules or {}).get("x-kubernetes-validations") or ():
        cause = _judge(rule, value, old, path)
        if cause is not None:
            causes.append(cause)
    if isinstance(value, dict):
        for name, one in value.items():
            if path == "" and name in {"apiVersion", "kind", "metadata"}:
                continue
            child = node.properties.get(name) or node.additional
            if child is not None and one is not None:
                before = old.get(name) if isinstance(old, dict) else None
                _check_cel(one, before, child, f"{path}.{name}" if path else name, causes)
    elif isinstance(value, list) and node.items is not None:
        for index, one in enumerate(value):
            _check_cel(one, _correlate(one, old, node), node.items, f"{path}[{index}]", causes)


def _correlate(item: Any, old: Any, node: Node) -> Any:
    """Return the item before the update. Only lists with keys can identify it."""
    if node.list_type != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return None
    for one in old:
        if isinstance(one, dict) and all(one.get(key) == item.get(key) for key in node.map_keys):
            return one
    return None


def _judge(rule: JsonObject, value: Any, old: Any, path: str) -> Cause | None:
    text = rule.get("rule", "")
    scope = {"self": value}
    if re.search(r"\boldSelf\b", text):
        if old is None:
            return None
        scope["oldSelf"] = old
    try:
        if cel.compile_rule(text)(scope) is True:
            return None
        message = rule.get("message") or f"failed rule: {text.strip()}"
    except cel.CelUnsupportedError as error:
        logger.warning("a validation rule at %s is not checked: %s", path or "the object", error)
        return None
    except CelError as error:
        message = f"rule evaluation error: {error}"
    shown = _json_type(value) if isinstance(value, (dict, list)) else value
    cause = cause_invalid(path, shown, message)
    if isinstance(value, (dict, list)):
        cause["message"] = f"Invalid value: {message}"
    if rule.get("reason"):
        cause["reason"] = rule["reason"]
    return cause


# CustomResourceDefinitions


def check_definition(body: JsonObject) -> list[Cause]:
    spec = body.get("spec") or {}
    names = spec.get("names") or {}
    causes: list[Cause] = []
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if body["metadata"].get("name") != wanted:
        causes.append(
            cause_invalid("metadata.name", body["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
        )
    if not spec.get("group"):
        causes.append(cause_required("spec.group"))
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        causes.append(cause_not_supported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"]))
    causes += [cause_required(f"spec.names.{name}") for name in ("plural", "kind") if not names.get(name)]
    if names.get("plural"):
        causes += [
            cause_invalid("spec.names.plural", names["plural"], fault) for fault in label_faults(names["plural"])
        ]
    versions = spec.get("versions") or []
    if sum(bool(one.get("storage")) for one in versions) != 1:
        causes.append(cause_invalid("spec.versions", [], "must have exactly one version marked as storage version"))
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            causes.append(cause_required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required"))
    return causes
