"""Records of the store: versions of objects, changes, and subscriptions to changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.selectors import LabelSelector

QUEUE_LIMIT = 20_000
"""Number of events after which a slow watcher is disconnected."""
_NO_LABELS: dict[str, str] = {}

Key = tuple[str, str, str]
"""(resource key such as `pods` or `clusters.apps.kubeblocks.io`, namespace or empty, name)."""


class CompactedError(Exception):
    """The history no longer contains the requested revision."""


@dataclass(frozen=True, slots=True)
class Record:
    """One version of one object."""

    key: Key
    uid: str
    revision: int
    raw: bytes
    labels: dict[str, str]
    owners: tuple[str, ...]
    deleting: bool

    @property
    def namespace(self) -> str:
        return self.key[1]

    @property
    def name(self) -> str:
        return self.key[2]

    def parse(self) -> JsonObject:
        """Return a new copy of the object."""
        return parse(self.raw)


@dataclass(frozen=True, slots=True)
class Change:
    """An event of the history: ADDED, MODIFIED or DELETED, with the previous version."""

    revision: int
    kind: str
    record: Record
    previous: Record | None
    at: float


@dataclass(slots=True)
class Table:
    """All objects of one resource and their recent changes."""

    by_namespace: dict[str, dict[str, Record]] = field(default_factory=dict)
    history: deque[Change] = field(default_factory=deque)
    subscriptions: set[Subscription] = field(default_factory=set)
    compacted: int = 2
    """The newest revision that the history no longer contains."""
    sorted_records: list[Record] | None = None
    by_label: dict[str, dict[str, dict[Key, Record]]] = field(default_factory=dict)
    """Index by label key, value and object, because lists by label are more frequent than writes."""

    def labeled(self, selector: LabelSelector) -> Iterable[Record] | None:
        """Return the smallest set of objects that one clause selects; None if no clause uses the index."""
        fewest: list[dict[Key, Record]] | None = None
        for requirement in selector:
            if requirement.operator not in {"=", "in"}:
                continue
            of_key = self.by_label.get(requirement.key, {})
            found = [of_key[value] for value in requirement.values if value in of_key]
            if fewest is None or sum(map(len, found)) < sum(map(len, fewest)):
                fewest = found
        return None if fewest is None else [record for some in fewest for record in some.values()]

    def index(self, record: Record) -> None:
        self.sorted_records = None
        for label, value in record.labels.items():
            self.by_label.setdefault(label, {}).setdefault(value, {})[record.key] = record

    def unindex(self, record: Record) -> None:
        self.sorted_records = None
        for label, value in record.labels.items():
            of_key = self.by_label[label]
            of_key[value].pop(record.key, None)
            if not of_key[value]:
                del of_key[value]
                if not of_key:
                    del self.by_label[label]


class Subscription:
    """The changes of one resource after the subscription, in order.

    `closed` is set if the watcher was too slow or was disconnected.
    """

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._wake = asyncio.Event()
        self.closed = False

    def push(self, change: Change) -> None:
        if len(self._changes) >= QUEUE_LIMIT:
            self.close()
            return
        self._changes.append(change)
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._wake.set()

    async def take(self, timeout_s: float) -> list[Change]:
        """Return all pending changes. Waits up to `timeout_s` for the first; empty after a timeout or when closed."""
        if not self._changes and not self.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
        self._wake.clear()
        taken = list(self._changes)
        self._changes.clear()
        return taken


def parse(raw: bytes) -> JsonObject:
    """Return the object from JSON that `dump` wrote."""
    try:
        parsed: JsonObject = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Half of a surrogate pair, which UTF-8 can't encode.
        parsed = json.loads(raw.decode("utf-8", "surrogatepass"))
    return parsed


def dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # Half of a surrogate pair, or more digits than 64 bits have.
        return _dump_anything(value)


def _dump_anything(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def build_record(key: Key, body: JsonObject, raw: bytes, revision: int) -> Record:
    metadata = body["metadata"]
    return Record(
        key=key,
        uid=metadata.get("uid", ""),
        revision=revision,
        raw=raw,
        labels=metadata.get("labels") or _NO_LABELS,
        owners=tuple(owner["uid"] for owner in metadata.get("ownerReferences") or () if "uid" in owner),
        deleting="deletionTimestamp" in metadata,
    )
