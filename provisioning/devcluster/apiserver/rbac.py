"""Authorization by the Role, ClusterRole and binding objects in the store, with the real server's refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import errors
from .errors import JsonObject
from .identity import Identity
from .requestinfo import RequestInfo
from .store import Record, Store

_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Access:
    """One question: may this user do that? Either a resource (with group and so on) or a path."""

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
    """Parsed rules are kept per stored version of an object."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[str, tuple[int, JsonObject]] = {}

    def check(self, identity: Identity, info: RequestInfo) -> None:
        """ApiError 403 unless some rule allows it."""
        access = access_of(info)
        if not self.allows(identity, access):
            raise refusal(identity, access)

    def allows(self, identity: Identity, access: Access) -> bool:
        if identity.is_master:
            return True
        return any(_rule_allows(rule, access) for rule in self.rules_for(identity, access.namespace))

    def rules_for(self, identity: Identity, namespace: str) -> Iterator[JsonObject]:
        """All rules that hold for this user in this namespace ("" for the whole cluster)."""
        for record in self._store.records(f"clusterrolebindings.{_GROUP}"):
            yield from self._bound_rules(record, identity, "")
        if namespace:
            for record in self._store.records(f"rolebindings.{_GROUP}", namespace):
                yield from self._bound_rules(record, identity, namespace)

    def _bound_rules(self, record: Record, identity: Identity, namespace: str) -> Iterator[JsonObject]:
        binding = self._parse(record)
        if not any(_is_subject(one, identity, namespace) for one in binding.get("subjects") or ()):
            return
        reference = binding.get("roleRef") or {}
        if reference.get("kind") == "ClusterRole":
            role = self._store.get(f"clusterroles.{_GROUP}", "", reference.get("name", ""))
        else:
            role = self._store.get(f"roles.{_GROUP}", namespace, reference.get("name", ""))
        if role is not None:
            yield from self._parse(role).get("rules") or ()

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
    if "*" not in resources and access.resource not in resources and not (subresource and f"*/{subresource}" in resources):
        return False
    names = rule.get("resourceNames") or ()
    return not names or access.name in names


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*":
        return True
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def refusal(identity: Identity, access: Access) -> errors.ApiError:
    """403 in the words of the real server."""
    if access.path:
        return errors.ApiError(
            403, "Forbidden", f'forbidden: User "{identity.user}" cannot {access.verb} path "{access.path}"', details={}
        )
    scope = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    why = f'User "{identity.user}" cannot {access.verb} resource "{access.resource}" in API group "{access.group}" {scope}'
    return errors.forbidden(access.group, access.resource.partition("/")[0], access.name, why)
