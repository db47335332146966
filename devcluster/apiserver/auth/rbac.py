"""Authorization by the Roles, ClusterRoles and bindings in the store, with the messages of the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from devcluster.apiserver import errors
from devcluster.apiserver.auth.identity import Identity
from devcluster.apiserver.auth.request_info import RequestInfo
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.storage.records import Record
from devcluster.apiserver.storage.store import Store

_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Access:
    """What a request wants to do: a verb on a resource, or a verb on a path that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    """`pods` or `pods/log`."""
    namespace: str = ""
    name: str = ""
    path: str = ""


def access_of(info: RequestInfo) -> Access:
    if not info.is_resource:
        return Access(info.verb, path=info.path)
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return Access(info.verb, info.group, resource, info.namespace, info.name)


class Authorizer:
    """Evaluates RBAC rules. Caches parsed rules for each stored version of an object."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[str, tuple[int, JsonObject]] = {}

    def check(self, identity: Identity, info: RequestInfo) -> None:
        """Raise ApiError 403 unless a rule allows the access."""
        access = access_of(info)
        if not self.allows(identity, access):
            raise refusal(identity, access)

    def allows(self, identity: Identity, access: Access) -> bool:
        if identity.is_master:
            return True
        return any(_rule_allows(rule, access) for rule, _ in self.grants_for(identity, access.namespace))

    def reason(self, identity: Identity, access: Access) -> str | None:
        """Return why the access is allowed, in the words of access reviews; None if it is not allowed."""
        if identity.is_master:
            return ""
        return next(
            (why for rule, why in self.grants_for(identity, access.namespace) if _rule_allows(rule, access)), None
        )

    def check_grants(self, kind: ResourceType, body: JsonObject, identity: Identity, namespace: str) -> None:
        """Raise ApiError 403 if a Role or binding grants rights that the user does not hold."""
        if identity.is_master or kind.group != _GROUP or kind.plural not in {"roles", "clusterroles"}:
            return
        rules = body.get("rules") if isinstance(body, dict) else None
        missing = [
            rule
            for rule in rules or ()
            if isinstance(rule, dict) and not all(self.allows(identity, one) for one in _accesses_of(rule, namespace))
        ]
        name = (body.get("metadata") or {}).get("name", "") if isinstance(body, dict) else ""
        if missing and not self.allows(identity, Access("escalate", _GROUP, kind.plural, namespace, name)):
            listed = "\n".join(json.dumps(rule, separators=(",", ":")) for rule in missing)
            groups = " ".join(f'"{group}"' for group in identity.groups)
            raise errors.forbidden(
                kind.group,
                kind.plural,
                name,
                f'user "{identity.user}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
                f"currently held:\n{listed}",
            )

    def rules_for(self, identity: Identity, namespace: str) -> Iterator[JsonObject]:
        """Yield every rule that applies to the user in the namespace; "" stands for the whole cluster."""
        for rule, _ in self.grants_for(identity, namespace):
            yield rule

    def grants_for(self, identity: Identity, namespace: str) -> Iterator[tuple[JsonObject, str]]:
        """Yield every such rule with the binding that grants it."""
        for record in self._store.records(f"clusterrolebindings.{_GROUP}"):
            yield from self._bound_rules(record, identity, "")
        if namespace:
            for record in self._store.records(f"rolebindings.{_GROUP}", namespace):
                yield from self._bound_rules(record, identity, namespace)

    def _bound_rules(self, record: Record, identity: Identity, namespace: str) -> Iterator[tuple[JsonObject, str]]:
        binding = self._parse(record)
        subject = next((one for one in binding.get("subjects") or () if _is_subject(one, identity, namespace)), None)
        if subject is None:
            return
        reference = binding.get("roleRef") or {}
        if reference.get("kind") == "ClusterRole":
            role = self._store.get(f"clusterroles.{_GROUP}", "", reference.get("name", ""))
        else:
            role = self._store.get(f"roles.{_GROUP}", namespace, reference.get("name", ""))
        if role is None:
            return
        kind, name = ("RoleBinding", f"{record.name}/{namespace}") if namespace else ("ClusterRoleBinding", record.name)
        whom = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            whom = f"{whom}/{subject.get('namespace') or namespace}"
        why = (
            f'RBAC: allowed by {kind} "{name}" of {reference.get("kind")} "{role.name}" '
            f'to {subject.get("kind")} "{whom}"'
        )
        for rule in self._parse(role).get("rules") or ():
            yield rule, why

    def _parse(self, record: Record) -> JsonObject:
        known = self._parsed.get(record.uid)
        if known is not None and known[0] == record.revision:
            return known[1]
        if len(self._parsed) > 2000:
            self._parsed.clear()
        body = record.parse()
        self._parsed[record.uid] = (record.revision, body)
        return body


def _is_subject(subject: JsonObject, identity: Identity, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return subject.get("name") == identity.user
        case "Group":
            return subject.get("name") in identity.groups
        case "ServiceAccount":
            inside = subject.get("namespace") or namespace
            return identity.user == f"system:serviceaccount:{inside}:{subject.get('name')}"
        case _:
            return False


def _rule_allows(rule: JsonObject, access: Access) -> bool:
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and access.verb not in verbs:
        return False
    if access.path:
        return any(_path_matches(one, access.path) for one in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if "*" not in groups and access.group not in groups:
        return False
    resources = rule.get("resources") or ()
    subresource = access.resource.partition("/")[2]
    if (
        "*" not in resources
        and access.resource not in resources
        and not (subresource and f"*/{subresource}" in resources)
    ):
        return False
    names = rule.get("resourceNames") or ()
    return not names or access.name in names


def _accesses_of(rule: JsonObject, namespace: str) -> Iterator[Access]:
    """Yield every combination of verb and resource that a rule grants."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield Access(verb, path=path)
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or ("",):
                    yield Access(verb, group, resource, namespace, name)


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*":
        return True
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def refusal(identity: Identity, access: Access) -> errors.ApiError:
    """Return the 403 of the real server."""
    if access.path:
        return errors.ApiError(
            403, "Forbidden", f'forbidden: User "{identity.user}" cannot {access.verb} path "{access.path}"', details={}
        )
    scope = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    wish = f'cannot {access.verb} resource "{access.resource}" in API group "{access.group}" {scope}'
    why = f'User "{identity.user}" {wish}'
    return errors.forbidden(access.group, access.resource.partition("/")[0], access.name, why)
