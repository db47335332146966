"""Reviews: SubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SelfSubjectReview, TokenReview."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver import errors
from devcluster.apiserver.auth.identity import Authenticator, Identity
from devcluster.apiserver.auth.rbac import Access, Authorizer
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.writes import admission


def answer(
    kind: ResourceType, body: JsonObject, identity: Identity, authenticator: Authenticator, authorizer: Authorizer
) -> JsonObject:
    """Return the review with its status. Nothing is stored."""
    admission.check_type(body, kind)
    spec = body.get("spec") or {}
    metadata = body.get("metadata") or {}
    result: JsonObject = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata, "spec": spec}
    match kind.kind:
        case "SelfSubjectAccessReview":
            result["status"] = _review_access(kind, spec, identity, authorizer)
        case "SubjectAccessReview" | "LocalSubjectAccessReview":
            other = Identity(spec.get("user") or "", tuple(spec.get("groups") or ()))
            if not other.user and not other.groups:
                raise errors.invalid(
                    kind.group,
                    "",
                    "",
                    [errors.cause_invalid("spec.user", "", "at least one of user or group must be specified")],
                )
            result["status"] = _review_access(kind, spec, other, authorizer)
        case "SelfSubjectRulesReview":
            result["status"] = _review_rules(spec, identity, authorizer)
        case "TokenReview":
            if not spec.get("token"):
                raise errors.bad_request("token is required for TokenReview in authentication")
            found = authenticator.identify(f"Bearer {spec.get('token', '')}")
            result["status"] = (
                {"authenticated": True, "user": _describe(found)}
                if found is not None
                else {"user": {}, "error": "invalid bearer token"}
            )
        case _:
            result["status"] = {"userInfo": _describe(identity)}
            result.pop("spec")
    return result


def _describe(identity: Identity) -> JsonObject:
    return {"username": identity.user, "groups": list(identity.groups)}


def _review_access(kind: ResourceType, spec: JsonObject, identity: Identity, authorizer: Authorizer) -> JsonObject:
    resource: JsonObject | None = spec.get("resourceAttributes")
    path: JsonObject | None = spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise errors.invalid(kind.group, "", "", [errors.cause_invalid("spec.resourceAttributes", resource, detail)])
    if path is not None:
        access = Access(path.get("verb", ""), path=path.get("path", ""))
    else:
        attributes: JsonObject = resource or {}
        name = attributes.get("resource", "")
        if attributes.get("subresource"):
            name = f"{name}/{attributes['subresource']}"
        access = Access(
            attributes.get("verb", ""),
            attributes.get("group", ""),
            name,
            attributes.get("namespace", ""),
            attributes.get("name", ""),
        )
    reason = authorizer.reason(identity, access)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True, "reason": reason} if reason else {"allowed": True}


def _review_rules(spec: JsonObject, identity: Identity, authorizer: Authorizer) -> JsonObject:
    namespace = spec.get("namespace") or ""
    if not namespace:
        raise errors.bad_request("no namespace on request")
    resource_rules: list[JsonObject] = []
    path_rules: list[JsonObject] = []
    rules: list[JsonObject] = list(authorizer.rules_for(identity, namespace))
    if identity.is_master:
        rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
    for rule in rules:
        verbs: Any = rule.get("verbs") or []
        if rule.get("nonResourceURLs"):
            path_rules.append({"verbs": verbs, "nonResourceURLs": rule["nonResourceURLs"]})
        if rule.get("resources"):
            one = {"verbs": verbs, "apiGroups": rule.get("apiGroups") or [], "resources": rule["resources"]}
            if rule.get("resourceNames"):
                one["resourceNames"] = rule["resourceNames"]
            resource_rules.append(one)
    return {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
