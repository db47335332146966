"""Watches: replay from a resourceVersion, live events, bookmarks, and 410 for versions before the history."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.schema.selectors import FieldSelector, LabelSelector, fields_match, labels_match
from devcluster.apiserver.storage.records import Change, CompactedError, Record, dump, parse
from devcluster.apiserver.storage.store import Store

BOOKMARK_INTERVAL_S = 60.0
MIN_TIMEOUT_S = 1800.0
"""Range of the duration of a watch without timeoutSeconds, as on the real server."""

Show = Callable[[Record], bytes]
"""Serializes a record in the representation that the client selected."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The objects that a list or watch selects."""

    namespace: str | None
    labels: LabelSelector
    fields: FieldSelector
    read_field: Callable[[Record, str], str]

    def shows(self, record: Record) -> bool:
        if self.namespace is not None and record.namespace != self.namespace:
            return False
        if self.labels and not labels_match(self.labels, record.labels):
            return False
        if self.fields:
            return fields_match(self.fields, lambda field: self.read_field(record, field))
        return True


@dataclass(frozen=True, slots=True)
class WatchRequest:
    kind: ResourceType
    filter: Filter
    resource_version: str
    bookmarks: bool
    initial_events: bool
    timeout_s: float | None
    show: Show
    gone: bool = False
    """Fault: send 410 and end."""


def event_line(kind: str, raw: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + raw + b"}\n"


def gone_line(message: str) -> bytes:
    return event_line("ERROR", dump(errors.expired(message).to_status()))


def bookmark(kind: ResourceType, revision: int, *, initial_end: bool = False) -> bytes:
    metadata: JsonObject = {"resourceVersion": str(revision)}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    body: JsonObject = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    if kind.builtin and kind.has_status:
        body["spec"], body["status"] = {}, {}
    return event_line("BOOKMARK", dump(body))


async def stream(store: Store, request: WatchRequest) -> AsyncIterator[bytes]:
    """Yield event lines until the timeout, a dropped connection or an ERROR. Events of one loop turn are joined."""
    table = request.kind.table
    ends_at = time.monotonic() + (
        request.timeout_s if request.timeout_s else MIN_TIMEOUT_S * random.uniform(1.0, 2.0)  # noqa: S311 - a load  # nosec B311
    )
    if request.gone:
        yield gone_line("The resourceVersion for the provided watch is too old.")
        return
    with store.subscribed(table) as subscription:
        sent_revision = store.revision
        start = request.resource_version
        if start in ("", "0") or request.initial_events:
            records = store.records(table, request.filter.namespace)
            lines = [
                event_line("ADDED", request.show(record)) for record in tuple(records) if request.filter.shows(record)
            ]
            if request.initial_events and request.bookmarks:
                lines.append(bookmark(request.kind, store.revision, initial_end=True))
            if lines:
                yield b"".join(lines)
        else:
            revision = int(start)
            try:
                replay = store.changes_since(table, revision)
            except CompactedError:
                yield gone_line(f"too old resource version: {revision} ({store.table(table).compacted + 1})")
                return
            lines = [line for change in replay if (line := _line_of(change, request)) is not None]
            sent_revision = max(revision, store.revision)
            if lines:
                yield b"".join(lines)
        bookmark_at = time.monotonic() + BOOKMARK_INTERVAL_S
        while not subscription.closed:
            now = time.monotonic()
            if now >= ends_at:
                return
            wait_s = min(ends_at, bookmark_at if request.bookmarks else ends_at) - now
            changes = await subscription.take(max(wait_s, 0.001))
            lines = [
                line
                for change in changes
                if change.revision > sent_revision and (line := _line_of(change, request)) is not None
            ]
            if lines:
                yield b"".join(lines)
            if request.bookmarks and time.monotonic() >= min(bookmark_at, ends_at - 0.05):
                bookmark_at = time.monotonic() + BOOKMARK_INTERVAL_S
                yield bookmark(request.kind, store.revision)


def _line_of(change: Change, request: WatchRequest) -> bytes | None:
    """Return the event for this watcher. An object that stops matching is DELETED, one that starts matching ADDED."""
    shows = request.filter.shows
    now = change.kind != "DELETED" and shows(change.record)
    before = change.previous is not None and shows(change.previous)
    if now:
        return event_line("MODIFIED" if before else "ADDED", request.show(change.record))
    if before:
        if change.kind == "DELETED":
            return event_line("DELETED", request.show(change.record))
        return event_line("DELETED", request.show(_with_revision(change)))
    return None


def _with_revision(change: Change) -> Record:
    """Return the last version that matched, with the revision of the change."""
    previous = change.previous
    if previous is None:
        return change.record
    body = parse(previous.raw)
    body["metadata"]["resourceVersion"] = str(change.revision)
    return Record(
        previous.key, previous.uid, change.revision, dump(body), previous.labels, previous.owners, previous.deleting
    )
