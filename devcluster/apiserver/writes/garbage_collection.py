"""Garbage collection by ownerReferences, finalizers of the server, and deletion of namespaces."""

from __future__ import annotations

import asyncio
import logging

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.storage.records import Key, Record
from devcluster.apiserver.writes.deletion import DeleteOptions, Lifecycle

logger = logging.getLogger(__name__)

_PROTECTION = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


class Collector:
    """Processes the work that writes queue, as the controller manager does."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.store = lifecycle.store
        self.registry = lifecycle.registry

    async def collect_forever(self) -> None:
        """Run until cancelled. An object that fails is logged and does not affect the others."""
        for resource in self.store.resources():
            for record in list(self.store.records(resource)):
                if record.deleting or any(owner not in self.store.uids for owner in record.owners):
                    self.lifecycle.push(record.key)
        while True:
            await self.lifecycle.wake.wait()
            self.lifecycle.wake.clear()
            batch = 0
            while self.lifecycle.work:
                work = self.lifecycle.work.popleft()
                try:
                    self._collect(work)
                except errors.ApiError as error:
                    logger.warning("garbage collection of %s was refused: %s", work, error.message)
                except Exception:
                    logger.exception("garbage collection of %s failed", work)
                batch += 1
                if batch % 50 == 0:
                    await asyncio.sleep(0)
            try:
                await self.store.committed()
            except Exception:
                logger.exception("changes of garbage collection could not be saved; trying again with the next change")

    def _collect(self, work: Key | str) -> None:
        if isinstance(work, str):
            for key in list(self.store.dependents.get(work, ())):
                self._collect_dependent(key)
            return
        record = self.store.get(*work)
        if record is None:
            return
        if work[0] == "namespaces" and record.deleting:
            self._empty_namespace(record)
            return
        if record.deleting:
            self._advance_deletion(record)
        elif record.owners:
            self._collect_dependent(work)

    def _collect_dependent(self, key: Key) -> None:
        """Delete an object without existing owners. If one exists, remove the references to the others."""
        record = self.store.get(*key)
        kind = self.registry.by_table(key[0])
        if record is None or kind is None or record.deleting:
            return
        body = record.parse()
        living: list[JsonObject] = []
        gone: list[JsonObject] = []
        for owner in body["metadata"].get("ownerReferences") or ():
            (living if self._owner_lives(owner, record) else gone).append(owner)
        if not gone:
            return
        if living:
            body["metadata"]["ownerReferences"] = living
            self.store.put(key[0], body)
            return
        self.lifecycle.delete(kind, record, DeleteOptions("Background", uid=record.uid))

    def _owner_lives(self, owner: JsonObject, dependent: Record) -> bool:
        """Return whether the owner exists, with the same uid, cluster-wide or in the namespace of the dependent."""
        found = self.store.get_by_uid(owner.get("uid", ""))
        return found is not None and found.namespace in ("", dependent.namespace)

    def _advance_deletion(self, record: Record) -> None:
        kind = self.registry.by_table(record.key[0])
        if kind is None:
            return
        body = record.parse()
        finalizers: list[str] = body["metadata"].get("finalizers") or []
        if "orphan" in finalizers:
            self._orphan_dependents(record)
            self._drop_finalizer(record.key, "orphan")
        elif "foregroundDeletion" in finalizers:
            if self._blocking_dependents(record):
                return
            self._drop_finalizer(record.key, "foregroundDeletion")
        elif record.key[0] in _PROTECTION and _PROTECTION[record.key[0]] in finalizers:
            if not self._is_mounted(record):
                self._drop_finalizer(record.key, _PROTECTION[record.key[0]])
        elif self.lifecycle.is_released(kind, body):
            self.lifecycle.finish_deletion(record)

    def _is_mounted(self, record: Record) -> bool:
        """Return whether a Pod uses the claim, or the volume is bound to a claim."""
        if record.key[0] == "persistentvolumes":
            return (record.parse().get("status") or {}).get("phase") == "Bound"
        for pod in self.store.records("pods", record.namespace):
            body = pod.parse()
            if (body.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
                continue
            for volume in (body.get("spec") or {}).get("volumes") or ():
                if (volume.get("persistentVolumeClaim") or {}).get("claimName") == record.name:
                    return True
        return False

    def _orphan_dependents(self, record: Record) -> None:
        for key in list(self.store.dependents.get(record.uid, ())):
            dependent = self.store.get(*key)
            if dependent is None:
                continue
            body = dependent.parse()
            kept = [one for one in body["metadata"]["ownerReferences"] if one.get("uid") != record.uid]
            body["metadata"]["ownerReferences"] = kept
            if not kept:
                del body["metadata"]["ownerReferences"]
            self.store.put(key[0], body)

    def _blocking_dependents(self, record: Record) -> bool:
        """Delete the dependents of an object in foreground deletion. Return whether one blocks its deletion."""
        blocked = False
        for key in list(self.store.dependents.get(record.uid, ())):
            dependent = self.store.get(*key)
            kind = self.registry.by_table(key[0])
            if dependent is None or kind is None:
                continue
            if not dependent.deleting:
                self.lifecycle.delete(kind, dependent, DeleteOptions("Foreground", uid=dependent.uid))
                dependent = self.store.get(*key)
            if dependent is None:
                continue
            references = dependent.parse()["metadata"].get("ownerReferences") or ()
            blocked |= any(one.get("uid") == record.uid and one.get("blockOwnerDeletion") for one in references)
        return blocked

    def _drop_finalizer(self, key: Key, finalizer: str) -> None:
        record = self.store.get(*key)
        kind = self.registry.by_table(key[0])
        if record is None or kind is None:
            return
        body = record.parse()
        left = [one for one in body["metadata"].get("finalizers") or () if one != finalizer]
        if left:
            body["metadata"]["finalizers"] = left
            self.store.put(key[0], body)
            self.lifecycle.push(key)  # one of those left may be for the collector, too
            return
        body["metadata"].pop("finalizers", None)
        if self.lifecycle.is_released(kind, body):
            self.lifecycle.finish_deletion(record)
        else:
            self.store.put(key[0], body)

    def _empty_namespace(self, record: Record) -> None:
        remaining = 0
        for table in self.store.resources():
            kind = self.registry.by_table(table)
            if kind is None or not kind.namespaced:
                continue
            for one in list(self.store.records(table, record.name)):
                if not one.deleting:
                    self.lifecycle.delete(kind, one, DeleteOptions("Background", grace_period_s=None))
                if self.store.get(*one.key) is not None:
                    remaining += 1
        if remaining:
            return
        body = record.parse()
        if [one for one in (body.get("spec") or {}).get("finalizers") or () if one != "kubernetes"]:
            return
        if body["metadata"].get("finalizers"):
            if body["spec"].pop("finalizers", None):
                self.store.put("namespaces", body)
            return
        self.lifecycle.finish_deletion(record)
