"""Building blocks of controllers: a cache of one resource, and a work queue that calls a reconcile function by key.

Controllers are level-triggered: an event only names a key, and the reconcile function decides by the cache. Lost,
repeated and merged events do no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple

import aiohttp

from devcluster.client.client import ApiError, GoneError, KubeClient, NotFoundError, Object, Resource

log = logging.getLogger(__name__)

FIRST_BACK_OFF_S, MAX_BACK_OFF_S = 0.1, 5.0

PASSING_ERRORS = (ApiError, aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError)


class Key(NamedTuple):
    """Namespace and name of an object. The namespace is "" for cluster-wide kinds."""

    namespace: str
    name: str


def key_of(item: Object) -> Key:
    return Key(item["metadata"].get("namespace", ""), item["metadata"]["name"])


class Reflector:
    """Caches one resource by list and watch. Lists again when the watch ends, breaks, or is too old."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        *,
        on_change: Callable[[Key, Object | None, Object | None], None],
        labels: str = "",
        fields: str = "",
        relist_every_s: int = 300,
    ) -> None:
        """`on_change(key, old, new)` is called for every change of the cache; `new` is None after a deletion."""
        self._client = client
        self.resource = resource
        self._on_change = on_change
        self._labels = labels
        self._fields = fields
        self._relist_every_s = relist_every_s
        self._items: dict[Key, Object] = {}
        self.synced = asyncio.Event()

    def get(self, key: Key) -> Object | None:
        return self._items.get(key)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._items.values()))

    async def run(self) -> None:
        """Run until cancelled. Errors are retried with a growing delay of at most 5 s."""
        delay_s = 0.1
        while True:
            try:
                items, version = await self._client.list_all(self.resource, labels=self._labels, fields=self._fields)
                self._replace(items)
                self.synced.set()
                delay_s = 0.1
                version = await self._follow(version)
            except GoneError:
                log.debug("The watch of %s is too old; listing again.", self.resource.plural)
            except NotFoundError:
                log.warning("The API server does not serve %s; trying again in %.1f s.", self.resource.plural, delay_s)
            except PASSING_ERRORS as error:
                log.info("Watching %s was interrupted (%s); listing again.", self.resource.plural, type(error).__name__)
            except Exception:
                log.exception("Watching %s failed; listing again.", self.resource.plural)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 5.0)

    async def _follow(self, version: str) -> str:
        stream = self._client.watch(
            self.resource,
            resource_version=version,
            labels=self._labels,
            fields=self._fields,
            timeout_s=self._relist_every_s,
        )
        async for kind, item in stream:
            version = item["metadata"]["resourceVersion"]
            if kind == "BOOKMARK":
                continue
            self._store(key_of(item), None if kind == "DELETED" else item)
        return version

    def _replace(self, items: list[Object]) -> None:
        fresh = {key_of(item): item for item in items}
        for key in self._items.keys() - fresh.keys():
            self._store(key, None)
        for key, item in fresh.items():
            known = self._items.get(key)
            if known is None or known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._store(key, item)

    def _store(self, key: Key, item: Object | None) -> None:
        old = self._items.pop(key, None) if item is None else self._items.get(key)
        if item is not None:
            self._items[key] = item
        try:
            self._on_change(key, old, item)
        except Exception:  # one object must not end the watch of the others
            log.exception("A change of %s %s/%s could not be processed.", self.resource.kind, *key)


Reconcile = Callable[[Key], Awaitable[float | None]]


class Workqueue:
    """Calls `reconcile(key)` for added keys: `workers` keys concurrently, one call at a time for each key.

    `reconcile` returns None, or the seconds after which it is called again. If it raises, the key is retried with a
    growing delay (0.1 s to 5 s), the traceback is logged once, and other keys are not affected.
    """

    def __init__(self, name: str, reconcile: Reconcile, *, workers: int = 16) -> None:
        self._name = name
        self._reconcile = reconcile
        self._workers = workers
        self._due: list[tuple[float, int, Key]] = []
        self._wanted: dict[Key, float] = {}
        self._active: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._logged: dict[Key, tuple[str, int]] = {}
        self._sequence = 0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: Key, after_s: float = 0.0) -> None:
        """Call `reconcile` for the key in `after_s` seconds, or earlier if it is already due earlier."""
        due = asyncio.get_running_loop().time() + after_s
        known = self._wanted.get(key)
        if known is not None and known <= due:
            return
        self._wanted[key] = due
        self._sequence += 1
        heapq.heappush(self._due, (due, self._sequence, key))
        self._wake.set()

    def add_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.add(key)

    async def run(self) -> None:
        """Run until cancelled, then cancel running calls."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                wait_s = self._start_due(loop.time())
                # Not wait_for(): on Python 3.11 it loses a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_due(self, now: float) -> float | None:
        """Start calls that are due. Return the seconds until the next key is due; None if there is no key or no free
        worker."""
        postponed: list[tuple[float, int, Key]] = []
        wait_s: float | None = None
        while self._due and len(self._tasks) < self._workers:
            due, sequence, key = self._due[0]
            if due > now:
                wait_s = due - now
                break
            heapq.heappop(self._due)
            if self._wanted.get(key) != due:
                continue
            if key in self._active:
                postponed.append((due, sequence, key))  # called again when the running call ends
                continue
            del self._wanted[key]
            self._active.add(key)
            task = asyncio.create_task(self._run_one(key))
            self._tasks.add(task)
            task.add_done_callback(self._finished)
        for entry in postponed:
            heapq.heappush(self._due, entry)
        return wait_s

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _run_one(self, key: Key) -> None:
        again_s: float | None
        try:
            again_s = await self._reconcile(key)
            self._failures.pop(key, None)
            self._logged.pop(key, None)
        except PASSING_ERRORS as error:
            again_s = self._backoff_s(key)
            log.info("%s: %s/%s is retried in %.1f s (%s).", self._name, *key, again_s, error)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            again_s = self._backoff_s(key)
            self._log_once(key, error)
        finally:
            self._active.discard(key)
        if again_s is not None:
            self.add(key, again_s)

    def _backoff_s(self, key: Key) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return float(min(FIRST_BACK_OFF_S * 2 ** min(count, 16), MAX_BACK_OFF_S))

    def _log_once(self, key: Key, error: Exception) -> None:
        """Log a traceback unless the previous failure of this key came from the same line."""
        frames = traceback.extract_tb(error.__traceback__)
        place = (frames[-1].filename, frames[-1].lineno or 0)
        if self._logged.get(key) != place:
            log.exception("%s: %s/%s could not be reconciled; it is retried.", self._name, *key)
        self._logged[key] = place
