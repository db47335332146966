"""What the store holds and tells: versions of objects, their changes, and those who listen."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .errors import JsonObject

QUEUE_LIMIT = 20_000
"""Events that a watcher may lag behind before it is cut off."""
_NO_LABELS: dict[str, str] = {}

Key = tuple[str, str, str]
"""(resource key such as `pods` or `clusters.apps.kubeblocks.io`, namespace or empty, name)."""


class CompactedError(Exception):
    """The history no longer reaches back to the revision that was asked for."""


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
        """A fresh copy of the object, free to change."""
        parsed: JsonObject = json.loads(self.raw)
        return parsed


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the history: ADDED, MODIFIED or DELETED, with the version before it."""

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
    """The newest revision that the history has forgotten; the very first ones belong to the birth of the cluster."""
    sorted_records: list[Record] | None = None


class Subscription:
    """The changes of one resource from now on, in order.

    `closed` is set when the watcher fell too far behind or was dropped.
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
        """Whatever is there, at once; waits up to `timeout_s` for the first; empty on timeout or when closed."""
        if not self._changes and not self.closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_s)
        self._wake.clear()
        taken = list(self._changes)
        self._changes.clear()
        return taken


def dump(value: Any) -> bytes:
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
