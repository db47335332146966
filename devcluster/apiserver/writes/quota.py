"""ResourceQuotas: the admission check, and the controller that calculates `status.used`.

As in Kubernetes, admission reads `status.hard` and `status.used`. A quota has no effect until the controller has set
them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.quantities import value_of
from devcluster.apiserver.schema.resources import Registry, ResourceType
from devcluster.apiserver.storage.records import Change, Key, Record
from devcluster.apiserver.storage.store import Store
from devcluster.apiserver.writes import quota_usage
from devcluster.apiserver.writes.quota_usage import Amounts

logger = logging.getLogger(__name__)

QUOTAS = "resourcequotas"
RESYNC_S = 300.0
_CHARGED_ON_UPDATE = frozenset({("services", ""), ("persistentvolumeclaims", ""), ("pods", "resize")})
"""Resource and subresource of the updates that can increase usage."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The effect of a write on a quota."""

    quota: Key
    used: Amounts
    """The quota's `status.used` after the write."""


def check(
    store: Store, kind: ResourceType, body: JsonObject, live: JsonObject | None = None, subresource: str = ""
) -> list[Charge]:
    """Return the charges of a create (`live` is None) or update. ApiError 403 if a quota would be exceeded."""
    namespace = body["metadata"].get("namespace", "")
    table = kind.table
    if not namespace or not (quotas := store.records(QUOTAS, namespace)) or table in quota_usage.NOT_COUNTED:
        return []
    if live is not None and (table, subresource) not in _CHARGED_ON_UPDATE:
        return []
    name = body["metadata"].get("name", "")
    concerned: list[tuple[Record, Amounts, Amounts]] = []
    for record in quotas:
        quota = record.parse()
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        tracked = [one for one in hard if quota_usage.is_tracked(one, table)]
        if not tracked or not quota_usage.matches_scopes(quota, table, body):
            continue
        if table == "pods" and (missing := quota_usage.missing_constraints(body, tracked)):
            why = f"failed quota: {record.name}: must specify {missing}"
            raise errors.forbidden(kind.group, kind.plural, name, why)
        if unknown := sorted(one for one in tracked if one not in used):
            why = f"status unknown for quota: {record.name}, resources: {','.join(unknown)}"
            raise errors.forbidden(kind.group, kind.plural, name, why)
        concerned.append((record, hard, used))
    if not concerned:
        return []
    now = quota_usage.utc_now()
    before = {} if live is None else quota_usage.usage_of(table, live, now)
    asked = quota_usage.difference(quota_usage.usage_of(table, body, now), before)
    charges = []
    for record, hard, used in concerned:
        requested = {one: amount for one, amount in asked.items() if one in hard}
        if not requested:
            continue
        after = quota_usage.total([used, requested])
        exceeded = [one for one in requested if value_of(after[one]) > value_of(hard[one])]
        if exceeded:
            shown = [quota_usage.describe({one: some[one] for one in exceeded}) for some in (requested, used, hard)]
            why = "exceeded quota: {}, requested: {}, used: {}, limited: {}".format(record.name, *shown)
            raise errors.forbidden(kind.group, kind.plural, name, why)
        charges.append(Charge(record.key, after))
    return charges


class QuotaController:
    """Recalculates quotas after a change of their limits, or of an object in their namespace that they count."""

    def __init__(self, store: Store, registry: Registry, write_status: Callable[[Record, JsonObject], None]) -> None:
        """`write_status(quota, status)` replaces the status of a ResourceQuota."""
        self._store = store
        self._registry = registry
        self._write_status = write_status
        self._due: set[Key] = set()
        self._wake = asyncio.Event()
        store.observers.append(self._note)

    def _note(self, change: Change) -> None:
        table, namespace, _ = change.record.key
        if table == QUOTAS and change.kind != "DELETED":
            self._push(change.record.key)
        is_freeing = change.kind == "DELETED" or (change.kind == "MODIFIED" and not quota_usage.is_counted_whole(table))
        if is_freeing and namespace:
            for quota in self._store.table(QUOTAS).by_namespace.get(namespace, {}).values():
                self._push(quota.key)

    def _push(self, key: Key) -> None:
        self._due.add(key)
        self._wake.set()

    async def run_forever(self) -> None:
        """Run until cancelled. A quota that fails is logged and does not affect the others."""
        while True:
            for quota in self._store.records(QUOTAS):
                self._due.add(quota.key)
            until = asyncio.get_running_loop().time() + RESYNC_S
            while self._due or await self._is_woken(until):
                self._wake.clear()
                self._recalculate_due()
                try:
                    await self._store.committed()
                except Exception:
                    logger.exception("the usage of quotas could not be saved; trying again with the next change")

    async def _is_woken(self, until: float) -> bool:
        """Wait for work. Return False if the next full resync is due."""
        try:
            async with asyncio.timeout_at(until):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _recalculate_due(self) -> None:
        due, self._due = self._due, set()
        for key in sorted(due):
            quota = self._store.get(*key)
            if quota is None:
                continue
            try:
                self._recalculate(quota)
            except errors.ApiError as error:
                logger.warning("the status of quota %s/%s was refused: %s", key[1], key[2], error.message)
            except Exception:
                logger.exception("the usage of quota %s/%s could not be calculated", key[1], key[2])

    def _recalculate(self, record: Record) -> None:
        quota = record.parse()
        status = quota.get("status") or {}
        hard = (quota.get("spec") or {}).get("hard") or {}
        known = status.get("used") or {}
        counted = self._count(quota, hard, record.namespace)
        used = {name: counted.get(name, known.get(name)) for name in hard}
        wanted = {"hard": hard, "used": {name: amount for name, amount in used.items() if amount is not None}}
        if any((status.get(name) or {}) != wanted[name] for name in wanted) or "used" not in status:
            self._write_status(record, {name: amounts for name, amounts in wanted.items() if amounts})

    def _count(self, quota: JsonObject, hard: Amounts, namespace: str) -> Amounts:
        """Return the usage of each resource in `hard` that is tracked for a served resource."""
        now = quota_usage.utc_now()
        used: Amounts = {}
        for table in sorted({kind.table for kind in self._registry.types() if kind.namespaced}):
            tracked = [name for name in hard if quota_usage.is_tracked(name, table)]
            if not tracked:
                continue
            records = self._store.records(table, namespace)
            if quota_usage.is_counted_whole(table):
                number = len(records) if quota_usage.matches_scopes(quota, table, {}) else 0
                used |= {name: str(number) for name in tracked}
                continue
            bodies = (record.parse() for record in records)
            amounts = quota_usage.total(
                quota_usage.usage_of(table, body, now)
                for body in bodies
                if quota_usage.matches_scopes(quota, table, body)
            )
            used |= {name: amounts.get(name, "0") for name in tracked}
        return used
