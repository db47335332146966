"""Validation of environment variables."""

from __future__ import annotations

import re

from devcluster.apiserver.errors import Cause, JsonObject, cause_invalid, cause_not_supported, cause_required
from devcluster.apiserver.validation import names

_ENV_NAME_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_VALUE_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_FIELD_PATHS = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
}  # fmt: skip


def check_env_from(sources: list[JsonObject], field: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, one in enumerate(sources):
        prefix = one.get("prefix")
        if prefix and not re.fullmatch(r"[ -<>-~]+", prefix):
            causes.append(cause_invalid(f"{field}[{index}].prefix", prefix, _ENV_NAME_TEXT))
        given = [kind for kind in ("configMapRef", "secretRef") if one.get(kind) is not None]
        for kind in given:
            where, name = f"{field}[{index}].{kind}.name", one[kind].get("name") or ""
            faults = names.subdomain_faults(name)
            causes += [cause_invalid(where, name, fault) for fault in faults] if name else [cause_required(where)]
        if not given:
            causes.append(cause_invalid(field, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            causes.append(cause_invalid(field, "", "may not have more than one field specified at a time"))
    return causes


def check_env(variables: list[JsonObject], field: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, variable in enumerate(variables):
        where = f"{field}[{index}]"
        name = variable.get("name") or ""
        if not name:
            causes.append(cause_required(f"{where}.name"))
        elif not re.fullmatch(r"[ -<>-~]+", name):
            causes.append(cause_invalid(f"{where}.name", name, _ENV_NAME_TEXT))
        source = variable.get("valueFrom")
        if source is None:
            continue
        causes += _check_value_source(variable, source, f"{where}.valueFrom")
    return causes


def _check_value_source(variable: JsonObject, source: JsonObject, field: str) -> list[Cause]:
    given = [one for one in _VALUE_SOURCES if source.get(one) is not None]
    causes: list[Cause] = []
    if not given:
        causes.append(
            cause_invalid(
                field,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                "`fileKeyRef`",
            )
        )
    if given and variable.get("value"):
        causes.append(cause_invalid(field, "", "may not be specified when `value` is not empty"))
    if len(given) > 1:
        causes.append(cause_invalid(field, "", "may not have more than one field specified at a time"))
    for kind in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(kind)
        if reference is None:
            continue
        key = reference.get("key") or ""
        name = reference.get("name") or ""
        causes += [cause_invalid(f"{field}.{kind}.name", name, fault) for fault in names.subdomain_faults(name)]
        if not key:
            causes.append(cause_required(f"{field}.{kind}.key"))
        else:
            causes += [cause_invalid(f"{field}.{kind}.key", key, fault) for fault in names.config_key_faults(key)]
    reference = source.get("fieldRef")
    if reference is not None:
        path = reference.get("fieldPath") or ""
        if not path:
            causes.append(cause_required(f"{field}.fieldRef.fieldPath"))
        elif not re.fullmatch(r"metadata\.(labels|annotations)\['.+'\]", path) and path not in _FIELD_PATHS:
            if path in {"metadata.labels", "metadata.annotations"}:
                causes.append(cause_not_supported(f"{field}.fieldRef.fieldPath", path, sorted(_FIELD_PATHS)))
            else:
                causes.append(
                    cause_invalid(
                        f"{field}.fieldRef.fieldPath",
                        path,
                        f"error converting fieldPath: field label not supported: {path}",
                    )
                )
    return causes
