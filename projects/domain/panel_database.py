"""Why the panel's own database can't be used, by what its driver says: the one place that tells these errors from bugs.

PostgreSQL gives an SQLSTATE (appendix A of its manual), SQLite a result code.
"""

from django.db import Error as AnyDatabaseError
from django.db import InterfaceError, OperationalError

_RETRY = "Try again in a minute."
_READ_ONLY = (
    "The panel's database is read-only: after a failover the panel may still be connected to a standby, or the "
    "file or disk is mounted read-only. Point DATABASE_URL at the primary, or make STATE_DIR writable."
)
_FULL = "The disk of the panel's database is full. Free some space there."
_UNREACHABLE = f"The panel's database can't be reached. Check that it runs and that DATABASE_URL is right. {_RETRY}"
_RESTARTING = f"The panel's database is starting or stopping. {_RETRY}"
_CONNECTIONS = (
    "The panel's database has no connection left. Raise its max_connections, or put PgBouncer in front of it."
)
_LOG_IN = "The panel's database refuses the user or password of DATABASE_URL. Correct it and restart the panel."
_NO_DATABASE = "The database that DATABASE_URL names does not exist. Create it, then run `manage.py migrate`."
_BUSY = f"The panel's database is locked by another transaction. {_RETRY}"
_DAMAGED = "The panel's database is damaged, or its disk has errors. Restore it from a backup."
_SCHEMA = "The tables of the panel's database are missing or of another version. Run `manage.py migrate`."
_UNUSABLE = f"The panel's database can't be used. {_RETRY}"

# By the longest beginning that fits.
_BY_SQLSTATE = {
    "08": _UNREACHABLE,
    "25006": _READ_ONLY,
    "28": _LOG_IN,
    "3D000": _NO_DATABASE,
    "3F000": _SCHEMA,
    "40": _BUSY,
    "42501": "The panel's database user lacks permissions on its tables. Grant them, or use the user who owns them.",
    "42703": _SCHEMA,
    "42P01": _SCHEMA,
    "53": _UNUSABLE,
    "53100": _FULL,
    "53300": _CONNECTIONS,
    "55P03": _BUSY,
    "57014": _BUSY,
    "57P": _RESTARTING,
    "58": _DAMAGED,
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}
_BY_SQLITE_CODE = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CANTOPEN": "The file of the panel's database can't be opened. Check STATE_DIR and who may write there.",
}


def explain_unusable(error: BaseException | None) -> str:
    """Return why the panel's database can't be used and what to do, without the driver's own words: they may name hosts
    and users. "" for an error that is a mistake of the panel, or none of the database's."""
    if not isinstance(error, AnyDatabaseError):
        return ""
    cause = error.__cause__
    sqlstate = getattr(cause, "sqlstate", None) or ""
    for length in range(5, 1, -1):
        if (found := _BY_SQLSTATE.get(sqlstate[:length])) and len(sqlstate) == 5:
            return found
    code = getattr(cause, "sqlite_errorname", None) or ""
    for name, sentence in _BY_SQLITE_CODE.items():
        if code == name or code.startswith(f"{name}_"):
            return sentence
    text = str(error).lower()
    if code == "SQLITE_ERROR":
        # SQLite has one code for a missing table and for a wrong statement.
        return _SCHEMA if "no such table" in text or "no such column" in text else ""
    if sqlstate:
        return ""
    # Without a code it is the connection: the server is gone, or was never reached.
    if isinstance(error, OperationalError | InterfaceError):
        return _UNUSABLE if "lock" in text else _UNREACHABLE
    return ""


def is_unusable(error: BaseException | None) -> bool:
    """Whether the panel's database can't be used: nothing that a change of the panel's code would mend."""
    return bool(explain_unusable(error))
