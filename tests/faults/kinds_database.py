"""Faults of the panel's own database."""

import sqlite3

from django.db import connection

from tests.faults.disk import fill, free, small_disk
from tests.faults.kinds import kind
from tests.faults.run import EndFault, Run


def _is_sqlite() -> bool:
    return connection.vendor == "sqlite"


def _pragma(text: str) -> int:
    with connection.cursor() as cursor:
        row = cursor.execute(f"PRAGMA {text}").fetchone()
    return int(row[0]) if row else 0


@kind("database locked")
def locked(run: Run) -> EndFault | None:
    """Another process holds SQLite's write lock longer than the timeout."""
    run.may_have_internal_errors = True
    if not _is_sqlite():
        return None
    _pragma("busy_timeout = 20")
    holder = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        holder.close()
        _pragma("busy_timeout = 20000")

    return let_go


@kind("database locked in the middle of a pass")
def locked_in_pass(run: Run) -> None:
    run.may_have_internal_errors = True
    if _is_sqlite():
        ends: list[EndFault | None] = []
        first = run.rng.randint(0, 8)
        run.gate.at_request(first, lambda: ends.append(locked(run)), after=True)
        _end_later(run, ends)


def _end_later(run: Run, ends: list[EndFault | None]) -> None:
    """End the fault at a later statement."""

    def end() -> None:
        if not ends:
            run.gate.at_statement(0, end)
        for one in ends:
            if one is not None:
                one()
        ends.clear()

    run.gate.at_statement(run.rng.randint(3, 8), end)


@kind("database gone")
def gone(run: Run) -> EndFault:
    """The database is restarted or unreachable for a minute: no statement succeeds."""
    run.may_have_internal_errors = True
    error = "could not connect to the database"
    run.gate.outage = error

    def come_back() -> None:
        run.gate.outage = ""

    return come_back


@kind("database gone in the middle of a pass")
def gone_in_pass(run: Run) -> EndFault:
    run.may_have_internal_errors = True

    def go() -> None:
        run.gate.outage = "server closed the connection unexpectedly"

    run.gate.at_request(run.rng.randint(0, 8), go, after=run.rng.random() < 0.5)

    def come_back() -> None:
        run.gate.outage = ""

    return come_back


@kind("disk full")
def full(run: Run) -> EndFault | None:
    """SQLite's file can't grow: some writes fit into its last pages, others fail."""
    run.may_have_internal_errors = True
    if not _is_sqlite():
        return None
    most = _pragma("max_page_count")
    _pragma(f"max_page_count = {_pragma('page_count')}")

    def make_room() -> None:
        _pragma(f"max_page_count = {most}")

    return make_room


@kind("disk really full")
def really_full(run: Run) -> EndFault:
    """Another file fills the disk of the database, entirely or up to a few pages."""
    run.may_have_internal_errors = True
    disk = run.stage.enter_context(small_disk())
    is_over = False

    def strike() -> None:
        if not is_over:
            fill(disk, free_bytes=run.rng.choice([0, 0, 4096, 65_536]))

    def make_room() -> None:
        nonlocal is_over
        is_over = True
        free(disk)

    if run.rng.random() < 0.3:
        strike()
    else:
        run.gate.at_statement(run.rng.randint(0, 60), strike)
    return make_room
