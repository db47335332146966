"""Validation of roles and bindings."""

from __future__ import annotations

from devcluster.apiserver.errors import Cause, JsonObject, cause_invalid, cause_not_supported, cause_required
from devcluster.apiserver.validation import names


def check_role(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    namespaced = body.get("kind") == "Role"
    for index, rule in enumerate(body.get("rules") or ()):
        where = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(cause_required(f"{where}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if namespaced:
                causes.append(
                    cause_invalid(
                        f"{where}.nonResourceURLs",
                        rule["nonResourceURLs"],
                        "namespaced rules cannot apply to non-resource URLs",
                    )
                )
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                causes.append(
                    cause_invalid(
                        f"{where}.nonResourceURLs",
                        rule["nonResourceURLs"],
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                )
            continue
        if not rule.get("apiGroups"):
            causes.append(cause_required(f"{where}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            causes.append(cause_required(f"{where}.resources", "resource rules must supply at least one resource"))
    return causes


def check_binding(body: JsonObject) -> list[Cause]:
    causes: list[Cause] = []
    reference = body.get("roleRef") or {}
    cluster_wide = body.get("kind") == "ClusterRoleBinding"
    group = "rbac.authorization.k8s.io"
    if reference.get("apiGroup", group) != group:
        causes.append(cause_not_supported("roleRef.apiGroup", reference["apiGroup"], [group]))
    kinds = ["ClusterRole"] if cluster_wide else ["Role", "ClusterRole"]
    if reference.get("kind", "") not in kinds:
        causes.append(cause_not_supported("roleRef.kind", reference.get("kind", ""), kinds))
    if not reference.get("name"):
        causes.append(cause_required("roleRef.name"))
    for index, subject in enumerate(body.get("subjects") or ()):
        where = f"subjects[{index}]"
        if not subject.get("name"):
            causes.append(cause_required(f"{where}.name"))
        match subject.get("kind"):
            case "ServiceAccount":
                name = subject.get("name") or ""
                faults = names.subdomain_faults(name) if name else []
                causes += [cause_invalid(f"{where}.name", name, fault) for fault in faults]
                if subject.get("apiGroup"):
                    causes.append(cause_not_supported(f"{where}.apiGroup", subject["apiGroup"], [""]))
                if cluster_wide and not subject.get("namespace"):
                    causes.append(cause_required(f"{where}.namespace"))
            case "User" | "Group":
                if subject.get("apiGroup", group) != group:
                    causes.append(cause_not_supported(f"{where}.apiGroup", subject["apiGroup"], [group]))
            case other:
                causes.append(cause_not_supported(f"{where}.kind", other or "", ["ServiceAccount", "User", "Group"]))
    return causes


def check_binding_update(body: JsonObject, live: JsonObject) -> list[Cause]:
    new = body.get("roleRef") or {}
    if new == (live.get("roleRef") or {}):
        return []
    shown = {"APIGroup": new.get("apiGroup", ""), "Kind": new.get("kind", ""), "Name": new.get("name", "")}
    return [cause_invalid("roleRef", shown, "cannot change roleRef")]
