"""The object store of the embedded API server: JSON in memory, SQLite on disk, and a bounded history for watches.

Objects are kept as serialized JSON and parsed on demand, because parsed objects need ten times the memory. Every change
gets the next revision of one counter, as in etcd. Writes of one turn of the event loop share a transaction
(`committed`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.selectors import LabelSelector
from devcluster.apiserver.storage.records import (
    Change,
    CompactedError,
    Key,
    Record,
    Subscription,
    Table,
    build_record,
    dump,
)

HISTORY_BYTES = 8 * 1024 * 1024
"""Maximum size of the history. Older watches and pages get a 410."""
HISTORY_AGE_S = 300.0
"""Maximum age of the history. A real control plane compacts etcd every five minutes."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changed (resource TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Store:
    """The store. Not thread-safe: call every method in the event loop of the server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._tables: dict[str, Table] = {}
        self._history: deque[tuple[str, Change]] = deque()
        self._history_bytes = 0
        self._pending: dict[Key, Record | None] = {}
        self._pending_changed: dict[str, int] = {}
        self._flush: asyncio.Future[None] | None = None
        self.revision = 1
        self.observers: list[Callable[[Change], None]] = []
        """Called with every change, in the same turn of the event loop."""
        self.uids: dict[str, Key] = {}
        self.dependents: dict[str, set[Key]] = {}

    # Opening and closing

    def open(self) -> None:
        """Load all objects. sqlite3.Error or OSError if the directory can't be used."""
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._path.chmod(0o600)  # contains Secrets
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(_SCHEMA)
        self._database = database
        for resource, namespace, name, revision, body in database.execute(
            "SELECT resource, namespace, name, revision, body FROM objects"
        ):
            self._index(build_record((resource, namespace, name), json.loads(body), bytes(body), revision))
        for resource, revision in database.execute("SELECT resource, revision FROM changed"):
            self.table(resource).compacted = revision
            self.revision = max(self.revision, revision)

    def close(self) -> None:
        if self._database is not None:
            self._write_pending()
            self._database.close()
            self._database = None

    def read_fact(self, name: str) -> str | None:
        row = self._connection().execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def write_fact(self, name: str, value: str) -> None:
        self._connection().execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise RuntimeError("the store is closed")
        return self._database

    # Reading

    def table(self, resource: str) -> Table:
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = Table()
        return table

    def resources(self) -> list[str]:
        """Return the keys of resources that have objects."""
        return [resource for resource, table in self._tables.items() if table.by_namespace]

    def get(self, resource: str, namespace: str, name: str) -> Record | None:
        return self.table(resource).by_namespace.get(namespace, {}).get(name)

    def get_by_uid(self, uid: str) -> Record | None:
        key = self.uids.get(uid)
        return None if key is None else self.get(*key)

    def records(self, resource: str, namespace: str | None = None, labels: LabelSelector = ()) -> list[Record]:
        """Return the records in the order of their keys, as etcd does; of all namespaces if `namespace` is None.

        `labels` is a hint that reduces the result. The caller still has to apply its selector.
        """
        table = self.table(resource)
        labeled = table.labeled(labels)
        if labeled is not None:
            chosen = [record for record in labeled if namespace is None or record.namespace == namespace]
            return sorted(chosen, key=lambda record: record.key)
        if namespace is not None:
            inside = table.by_namespace.get(namespace, {})
            return [inside[name] for name in sorted(inside)]
        if table.sorted_records is None:
            everything = [record for inside in table.by_namespace.values() for record in inside.values()]
            table.sorted_records = sorted(everything, key=lambda record: record.key)
        return table.sorted_records

    def records_at(
        self, resource: str, namespace: str | None, revision: int, labels: LabelSelector = ()
    ) -> list[Record]:
        """Return the records at an earlier revision, by undoing the history. CompactedError if it is too old.

        `labels` as for `records`.
        """
        table = self.table(resource)
        if revision < table.compacted:
            raise CompactedError
        if not table.history or table.history[-1].revision <= revision:
            return self.records(resource, namespace, labels)
        undone: dict[Key, Record | None] = {}
        for change in reversed(table.history):
            if change.revision <= revision:
                break
            undone[change.record.key] = change.previous
        kept = [record for record in self.records(resource, namespace) if record.key not in undone]
        kept += [
            one for one in undone.values() if one is not None and (namespace is None or one.namespace == namespace)
        ]
        return sorted(kept, key=lambda record: record.key)

    def changes_since(self, resource: str, revision: int) -> list[Change]:
        """Return the changes after `revision`. CompactedError if the history no longer has all of them."""
        table = self.table(resource)
        if revision < table.compacted:
            raise CompactedError
        newer: list[Change] = []
        for change in reversed(table.history):
            if change.revision <= revision:
                break
            newer.append(change)
        newer.reverse()
        return newer

    @contextlib.contextmanager
    def subscribed(self, resource: str) -> Iterator[Subscription]:
        table = self.table(resource)
        subscription = Subscription()
        table.subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            table.subscriptions.discard(subscription)

    def drop_subscriptions(self, resource: str | None = None) -> int:
        """End the open watches of one resource or of all. Return their number."""
        tables = [self.table(resource)] if resource else list(self._tables.values())
        subscriptions = [subscription for table in tables for subscription in table.subscriptions]
        for subscription in subscriptions:
            subscription.close()
        return len(subscriptions)

    # Writing

    def put(self, resource: str, body: JsonObject) -> Record:
        """Create or replace an object and set its resourceVersion. The caller checks preconditions."""
        self.revision += 1
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(self.revision)
        key = (resource, metadata.get("namespace", ""), metadata["name"])
        previous = self.get(*key)
        record = build_record(key, body, dump(body), self.revision)
        self._index(record)
        self._pending[key] = record
        self._note(Change(self.revision, "MODIFIED" if previous else "ADDED", record, previous, time.monotonic()))
        return record

    def remove(self, key: Key) -> Record | None:
        """Delete an object. Return its last version with the revision of the deletion, as in the DELETED event."""
        previous = self.get(*key)
        if previous is None:
            return None
        self.revision += 1
        body = previous.parse()
        body["metadata"]["resourceVersion"] = str(self.revision)
        record = build_record(key, body, dump(body), self.revision)
        self._unindex(previous)
        self._pending[key] = None
        self._note(Change(self.revision, "DELETED", record, previous, time.monotonic()))
        return record

    async def committed(self) -> None:
        """Wait until all changes are in the database file. Callers of one loop turn share a transaction."""
        if not self._pending and self._flush is None:
            return
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.create_future()
            loop.call_soon(self._commit_batch)
        await asyncio.shield(self._flush)

    def _commit_batch(self) -> None:
        flush, self._flush = self._flush, None
        try:
            self._write_pending()
        except sqlite3.Error as error:
            if flush is not None and not flush.done():
                flush.set_exception(error)
            return
        if flush is not None and not flush.done():
            flush.set_result(None)

    def _write_pending(self) -> None:
        if not self._pending:
            return
        database = self._connection()
        pending, self._pending = self._pending, {}
        changed, self._pending_changed = self._pending_changed, {}
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT OR REPLACE INTO objects (resource, namespace, name, revision, body) VALUES (?, ?, ?, ?, ?)",
                [(*key, record.revision, record.raw) for key, record in pending.items() if record is not None],
            )
            database.executemany(
                "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
                [key for key, record in pending.items() if record is None],
            )
            database.executemany(
                "INSERT OR REPLACE INTO changed (resource, revision) VALUES (?, ?)", list(changed.items())
            )
            database.execute("COMMIT")
        except sqlite3.Error:
            self._pending = {**pending, **self._pending}
            self._pending_changed = {**changed, **self._pending_changed}
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _index(self, record: Record) -> None:
        resource, namespace, name = record.key
        table = self.table(resource)
        previous = table.by_namespace.get(namespace, {}).get(name)
        if previous is not None:
            self._unindex(previous)
        table.by_namespace.setdefault(namespace, {})[name] = record
        table.index(record)
        self.uids[record.uid] = record.key
        for owner in record.owners:
            self.dependents.setdefault(owner, set()).add(record.key)

    def _unindex(self, record: Record) -> None:
        resource, namespace, name = record.key
        table = self.table(resource)
        inside = table.by_namespace[namespace]
        inside.pop(name, None)
        if not inside:
            del table.by_namespace[namespace]
        table.unindex(record)
        self.uids.pop(record.uid, None)
        for owner in record.owners:
            keys = self.dependents.get(owner)
            if keys is not None:
                keys.discard(record.key)
                if not keys:
                    del self.dependents[owner]

    def _note(self, change: Change) -> None:
        resource = change.record.key[0]
        table = self.table(resource)
        self._pending_changed[resource] = change.revision
        table.history.append(change)
        self._history.append((resource, change))
        self._history_bytes += len(change.record.raw)
        oldest_kept = change.at - HISTORY_AGE_S
        while self._history and (self._history_bytes > HISTORY_BYTES or self._history[0][1].at < oldest_kept):
            self._forget_oldest()
        for observe in self.observers:
            observe(change)
        for subscription in tuple(table.subscriptions):
            subscription.push(change)

    def _forget_oldest(self) -> None:
        resource, change = self._history.popleft()
        table = self.table(resource)
        table.history.popleft()
        table.compacted = change.revision
        self._history_bytes -= len(change.record.raw)

    def compact(self) -> None:
        """Drop the history, as a compaction of etcd does. Older watches and pages get a 410."""
        while self._history:
            self._forget_oldest()
