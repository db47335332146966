"""Errors of the panel's own database that mean it can't be used, and their remedies."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from django.db.utils import ConnectionHandler

from projects.domain.panel_database import explain_unusable


def from_postgresql(sqlstate: str, kind: type[Error] = OperationalError) -> Error:
    """Return an error as Django wraps the driver's."""
    error = kind("as the server says it")
    error.__cause__ = psycopg.errors.lookup(sqlstate)("as the server says it")
    return error


@pytest.mark.parametrize(
    ("sqlstate", "kind", "word"),
    [
        ("25006", InternalError, "read-only"),
        ("08006", OperationalError, "reached"),
        ("57P01", OperationalError, "starting or stopping"),
        ("57P03", OperationalError, "starting or stopping"),
        ("53100", OperationalError, "full"),
        ("53300", OperationalError, "max_connections"),
        ("28P01", OperationalError, "password"),
        ("3D000", OperationalError, "does not exist"),
        ("42P01", ProgrammingError, "migrate"),
        ("42703", ProgrammingError, "migrate"),
        ("42501", ProgrammingError, "permissions"),
        ("55P03", OperationalError, "locked"),
        ("40P01", OperationalError, "locked"),
        ("57014", OperationalError, "locked"),
        ("58030", OperationalError, "damaged"),
        ("XX001", InternalError, "damaged"),
    ],
)
def test_sqlstate_determines_the_remedy(sqlstate, kind, word):
    assert word in explain_unusable(from_postgresql(sqlstate, kind))


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("23505", IntegrityError),
        ("22P02", DataError),
        ("42601", ProgrammingError),
        ("42883", ProgrammingError),
        ("25P02", InternalError),
        ("22003", DataError),
    ],
)
def test_programming_error_is_not_an_outage(sqlstate, kind):
    assert explain_unusable(from_postgresql(sqlstate, kind)) == ""


@pytest.mark.parametrize("error", [None, ValueError("read-only"), OSError("No space left"), KeyError("08006")])
def test_other_error_is_not_an_outage(error):
    assert explain_unusable(error) == ""


@pytest.mark.parametrize("error", [OperationalError("connection failed"), InterfaceError("connection closed")])
def test_error_without_a_code_is_a_connection_error(error):
    assert "reached" in explain_unusable(error)


@pytest.fixture(autouse=True)
def may_connect(django_db_blocker):
    """Allow connections: these are to files of the tests' own."""
    with django_db_blocker.unblock():
        yield


def sqlite_error(file: Path, *statements: str) -> Error:
    """Return what Django raises for the last statement on a SQLite file."""
    connections = ConnectionHandler({"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}})
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except Error as error:
        return error
    finally:
        connection.close()
    pytest.fail("Nothing went wrong.")


def test_read_only_sqlite_file_is_explained(tmp_path):
    error = sqlite_error(tmp_path / "a.sqlite3", "PRAGMA query_only = ON", "CREATE TABLE a (b)")
    assert "read-only" in explain_unusable(error)


def test_full_sqlite_file_is_explained(tmp_path):
    statements = ("CREATE TABLE a (b)", "PRAGMA max_page_count = 2", "INSERT INTO a VALUES (zeroblob(1000000))")
    assert "full" in explain_unusable(sqlite_error(tmp_path / "a.sqlite3", *statements))


def test_locked_sqlite_file_is_explained(tmp_path):
    file = tmp_path / "a.sqlite3"
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("CREATE TABLE a (b)")
        other.execute("BEGIN EXCLUSIVE")
        error = sqlite_error(file, "PRAGMA busy_timeout = 1", "INSERT INTO a VALUES (1)")
    finally:
        other.close()
    assert "locked" in explain_unusable(error)


def test_invalid_sqlite_file_is_explained(tmp_path):
    file = tmp_path / "a.sqlite3"
    file.write_text("not a database " * 100)
    assert "damaged" in explain_unusable(sqlite_error(file, "SELECT 1 FROM sqlite_master"))


def test_missing_folder_is_explained(tmp_path):
    assert "can't be opened" in explain_unusable(sqlite_error(tmp_path / "none" / "a.sqlite3", "SELECT 1"))


def test_missing_sqlite_table_asks_for_migrations(tmp_path):
    assert "migrate" in explain_unusable(sqlite_error(tmp_path / "a.sqlite3", "SELECT 1 FROM projects_project"))


def test_wrong_sqlite_statement_is_a_programming_error(tmp_path):
    assert explain_unusable(sqlite_error(tmp_path / "a.sqlite3", "SELECT FROM 1")) == ""
