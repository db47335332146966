"""Connects to a database with its credentials, the only proof that they work."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings

from projects.domain.connection import Connection
from provisioning.decisions.types import Verification

_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 3000
# libpq's words for require_auth (fe-auth.c); it has no SQLSTATE for them.
_AUTHENTICATION_REFUSED = "authentication method requirement"
# The two timeouts, one after the other.
LONGEST_PROOF = timedelta(seconds=_CONNECT_TIMEOUT_S, milliseconds=_STATEMENT_TIMEOUT_MS)


def open_session(
    connection: Connection, *, autocommit: bool = False, options: Mapping[str, object] | None = None
) -> psycopg.Connection[Any]:
    """Connect, with these server settings for the session. Raises psycopg.Error, and ValueError for credentials with
    characters that PostgreSQL does not accept."""
    options = {"statement_timeout": _STATEMENT_TIMEOUT_MS, **(options or {})}
    return psycopg.connect(
        host=connection.host,
        port=connection.port,
        dbname=connection.database,
        user=connection.username,
        password=connection.password,
        connect_timeout=_CONNECT_TIMEOUT_S,
        # A server that asks for the password itself, or for a weak hash of it, gets nothing.
        require_auth=settings.DATABASE_REQUIRE_AUTH,
        sslmode=settings.DATABASE_SSLMODE,
        sslrootcert=settings.DATABASE_SSLROOTCERT or None,
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
        application_name="controlpanel",
        autocommit=autocommit,
    )


def verify_connection(connection: Connection) -> tuple[Verification, str]:
    """Run `SELECT 1`; return the outcome and a sentence without the password. Raises nothing."""
    where = f"{connection.host}:{connection.port}"
    try:
        with open_session(connection) as session:
            session.execute("SELECT 1").fetchone()
            version = session.info.parameter_status("server_version") or "unknown version"
    except psycopg.OperationalError as error:
        return _explain(error, where)
    except psycopg.Error as error:
        return Verification.REFUSED, f"The database at {where} did not answer SELECT 1 ({type(error).__name__})."
    except ValueError:
        return Verification.REJECTED, f"The credentials for {where} contain characters that PostgreSQL does not accept."
    return Verification.VERIFIED, f"Connected to {where} as {connection.username}: PostgreSQL {version}."


def explain_authentication(where: str) -> str:
    """Return the message about a server that requires an authentication method that is not allowed."""
    allowed = settings.DATABASE_REQUIRE_AUTH
    return (
        f"The server at {where} requires an authentication method that DATABASE_REQUIRE_AUTH ({allowed}) does not "
        "allow, so the password was not sent. If this is another server, find out who changed the Service. Otherwise: "
        "the PostgreSQL addon "
        "of KubeBlocks before 1.2 stores md5 hashes for PostgreSQL up to 17; set password_encryption to scram-sha-256 "
        "and set the password again, or allow it with DATABASE_REQUIRE_AUTH=scram-sha-256,md5."
    )


def explain_tls(where: str) -> str:
    """Return the message about a TLS connection that failed."""
    return (
        f"Can't connect to {where} with DATABASE_SSLMODE={settings.DATABASE_SSLMODE}: the server has no TLS, or its "
        "certificate is not valid for it. Enable TLS for the Cluster, set its CA in DATABASE_SSLROOTCERT, or choose "
        "another DATABASE_SSLMODE."
    )


def _explain(error: psycopg.OperationalError, where: str) -> tuple[Verification, str]:
    said = str(error).lower()
    if _AUTHENTICATION_REFUSED in said:
        return Verification.REJECTED, explain_authentication(where)
    if "ssl" in said or "certificate" in said:
        return Verification.REJECTED, explain_tls(where)
    if (error.sqlstate or "").startswith("28") or "authentication failed" in said or "no password supplied" in said:
        return Verification.REJECTED, f"The database at {where} does not accept the captured user and password."
    if (
        "could not translate host name" in said
        or "failed to resolve host" in said
        or "name or service not known" in said
    ):
        return (
            Verification.UNREACHABLE,
            f"Not verified: the panel can't resolve the host name of {where}.",
        )
    if "no route to host" in said or "network is unreachable" in said:
        return Verification.UNREACHABLE, f"Not verified: the panel has no network route to {where}."
    if isinstance(error, psycopg.errors.ConnectionTimeout) or "timeout" in said or "timed out" in said:
        return Verification.UNANSWERED, f"Not verified: {where} did not answer within {_CONNECT_TIMEOUT_S} s."
    return Verification.REFUSED, f"The database at {where} does not accept connections yet."
