"""Deletion with finalizers and grace periods, and the work that writes leave to garbage collection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import Registry, ResourceType
from devcluster.apiserver.storage.records import Key, Record
from devcluster.apiserver.storage.store import Store

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
NAMESPACE_DELAY_S = 0.5
"""Delay before a terminating namespace is emptied. It takes seconds on a real cluster."""
_PROTECTED = frozenset(SYSTEM_NAMESPACES[:3])


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The options of a DELETE."""

    propagation: str = ""
    """Background, Foreground, Orphan, or "" for the default (Background)."""
    grace_period_s: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


class Lifecycle:
    """Deletes objects immediately if possible. Otherwise adds them to `work` and wakes the Collector."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self.work: deque[Key | str] = deque()
        self.wake = asyncio.Event()
        self.create_in_namespace: Callable[[str, str, JsonObject], None] = lambda plural, namespace, body: None
        """Creates an object that every namespace gets. Operations sets it."""

    # For writes

    def populate_namespace(self, namespace: str) -> None:
        """Create the default ServiceAccount and the CA ConfigMap of a new namespace, as the controller manager does."""
        self.create_in_namespace("serviceaccounts", namespace, {"metadata": {"name": "default"}})
        note = (
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints "
            "such as the "
            "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
            "Kubernetes clusters."
        )
        self.create_in_namespace(
            "configmaps",
            namespace,
            {
                "metadata": {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": note}},
                "data": {"ca.crt": ""},
            },
        )

    def check_namespace(self, kind: ResourceType, namespace: str, name: str) -> None:
        """Raise ApiError 404 if the namespace does not exist, 403 if it is being deleted."""
        record = self.store.get("namespaces", "", namespace)
        if record is None:
            raise errors.not_found("", "namespaces", namespace)
        if record.deleting:
            error = errors.forbidden(
                kind.group,
                kind.plural,
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
            )
            error.details = {
                **(error.details or {}),
                "causes": [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {namespace} is being terminated",
                        "field": "metadata.namespace",
                    }
                ],
            }
            raise error

    def is_released(self, kind: ResourceType, body: JsonObject) -> bool:
        """Return whether a deleted object has no finalizers left and no grace period."""
        metadata = body["metadata"]
        if metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
            return False
        return not (kind.table == "namespaces" and (body.get("spec") or {}).get("finalizers"))

    def note_written(self, kind: ResourceType, body: JsonObject) -> None:
        """Note a write, which may have added a deleted owner or removed a finalizer."""
        metadata = body["metadata"]
        if kind.table == "customresourcedefinitions.apiextensions.k8s.io":
            self.registry.install(body)
        for owner in metadata.get("ownerReferences") or ():
            if owner.get("uid") not in self.store.uids:
                self.push((kind.table, metadata.get("namespace", ""), metadata["name"]))
                break
        if "deletionTimestamp" in metadata:
            self.push((kind.table, metadata.get("namespace", ""), metadata["name"]))

    # Deleting

    def delete(self, kind: ResourceType, record: Record, options: DeleteOptions) -> tuple[JsonObject, bool]:
        """Return the object and whether it was removed."""
        body = record.parse()
        metadata = body["metadata"]
        self._check_preconditions(kind, record, metadata, options)
        if kind.table == "namespaces" and record.name in _PROTECTED:
            raise errors.forbidden("", "namespaces", record.name, "this namespace may not be deleted")
        finalizers = list(metadata.get("finalizers") or ())
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation, "")
        if not options.propagation and kind.table == "jobs.batch" and "orphan" not in finalizers:
            wanted = "orphan"  # only Jobs orphan their Pods by default
        if options.propagation:
            finalizers = [one for one in finalizers if one not in {"foregroundDeletion", "orphan"}]
        if wanted and wanted not in finalizers:
            finalizers.append(wanted)
        grace_s = self._grace_of(kind, body, options)
        if kind.table == "namespaces":
            return (body if options.dry_run else self._terminate_namespace(record, body)), False
        if not finalizers and grace_s == 0:
            return (body if options.dry_run else self.finish_deletion(record)), True
        if not self._mark_deleted(kind, metadata, finalizers, grace_s) or options.dry_run:
            return body, False
        self.store.put(record.key[0], body)
        self.push(record.key)
        return body, False

    @staticmethod
    def _mark_deleted(kind: ResourceType, metadata: JsonObject, finalizers: list[str], grace_s: int) -> bool:
        """Set the finalizers and the time of deletion. Return whether that changes anything."""
        is_shorter = grace_s < (metadata.get("deletionGracePeriodSeconds") or 0)
        is_first = "deletionTimestamp" not in metadata
        if not is_first and not is_shorter and finalizers == (metadata.get("finalizers") or []):
            return False
        metadata["finalizers"] = finalizers
        if not finalizers:
            del metadata["finalizers"]
        if is_first and kind.has_generation and "generation" in metadata:
            metadata["generation"] += 1
        if is_first or is_shorter:
            metadata["deletionTimestamp"] = _time_text(grace_s)
            metadata["deletionGracePeriodSeconds"] = grace_s
        return True

    def _check_preconditions(
        self, kind: ResourceType, record: Record, metadata: JsonObject, options: DeleteOptions
    ) -> None:
        if options.uid and options.uid != record.uid:
            raise self._precondition_failed(
                kind,
                record,
                f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
                "The object might have been deleted and then recreated",
            )
        version = metadata["resourceVersion"]
        if options.resource_version and options.resource_version != version:
            raise self._precondition_failed(
                kind,
                record,
                f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
                f"ResourceVersion in "
                f"record ({version}). The object might have been modified",
            )

    @staticmethod
    def _precondition_failed(kind: ResourceType, record: Record, why: str) -> errors.ApiError:
        """Return a 409 that names the kind, unlike other conflicts."""
        what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        return errors.ApiError(
            409,
            "Conflict",
            f'Operation cannot be fulfilled on {what} "{record.name}": {why}',
            details=errors.build_details(kind.group, kind.kind, record.name),
        )

    def _grace_of(self, kind: ResourceType, body: JsonObject, options: DeleteOptions) -> int:
        """Return the grace period in seconds. Only Pods on a node have one."""
        if kind.table != "pods":
            return 0
        if not (body.get("spec") or {}).get("nodeName") or (body.get("status") or {}).get("phase") in {
            "Failed",
            "Succeeded",
        }:
            return 0
        if options.grace_period_s is not None:
            return max(options.grace_period_s, 0)
        grace = (body.get("spec") or {}).get("terminationGracePeriodSeconds", 30)
        return int(grace)

    def finish_deletion(self, record: Record, body: JsonObject | None = None) -> JsonObject:
        """Remove the object and queue its dependents. Return its last version."""
        final = self.store.remove(record.key)
        if record.key[0] == "customresourcedefinitions.apiextensions.k8s.io":
            self._drop_custom_objects(record)
        if record.uid in self.store.dependents:
            self.push(record.uid)
        for owner in record.owners:
            key = self.store.uids.get(owner)
            if key is not None:
                owner_record = self.store.get(*key)
                if owner_record is not None and owner_record.deleting:
                    self.push(key)
        if record.key[0] == "pods":
            for claim in self.store.records("persistentvolumeclaims", record.namespace):
                if claim.deleting:
                    self.push(claim.key)
        if record.namespace:
            namespace = self.store.get("namespaces", "", record.namespace)
            if namespace is not None and namespace.deleting:
                self.push(namespace.key)
        if body is not None:
            return body
        return final.parse() if final is not None else record.parse()

    def _drop_custom_objects(self, record: Record) -> None:
        definition = record.parse()
        table = f"{definition['spec']['names']['plural']}.{definition['spec']['group']}"
        for one in list(self.store.records(table)):
            self.store.remove(one.key)
        self.store.drop_subscriptions(table)
        self.registry.uninstall(record.name)

    def _terminate_namespace(self, record: Record, body: JsonObject) -> JsonObject:
        if record.deleting:
            return body
        body["metadata"]["deletionTimestamp"] = _time_text(0)
        body["metadata"].pop("deletionGracePeriodSeconds", None)
        body.setdefault("status", {})["phase"] = "Terminating"
        self.store.put("namespaces", body)
        self._push_later(record.key, NAMESPACE_DELAY_S)
        return body

    # For the Collector

    def _push_later(self, work: Key, delay_s: float) -> None:
        try:
            asyncio.get_running_loop().call_later(delay_s, self.push, work)
        except RuntimeError:  # no loop yet: the Collector checks all objects when it starts
            self.push(work)

    def push(self, work: Key | str) -> None:
        self.work.append(work)
        self.wake.set()


def _time_text(after_s: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
