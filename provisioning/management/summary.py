"""A project as JSON: the line that `--json` prints. Never a password."""

from collections.abc import Mapping
from datetime import datetime

from projects.domain.states import CredentialsSource
from projects.models import DatabaseCluster, Project, Sandbox


def describe_project(project: Project) -> dict[str, object]:
    """Return the project with its live database and sandbox. Times are ISO 8601 in UTC; what is not known yet is null.
    Every key is always present, and every step is listed, with `at` null until it is reached."""
    return {
        "project": project.name,
        "owner": project.owner.get_username() if project.owner else None,
        "phase": project.phase,
        "reason": project.reason,
        "message": project.message,
        "database": _describe_database(project.database, project.sandbox),
        "sandbox": _describe_sandbox(project.sandbox),
        "drift": project.drift,
        "steps": [{"step": reached.step.value, "at": _iso(reached.at)} for reached in project.steps()],
    }


def credentials_of(database: DatabaseCluster | None, sandbox: Sandbox | None) -> CredentialsSource:
    """Return which credentials the project has: its own once they are captured, else the default ones if its sandbox
    uses them."""
    if database is not None and database.has_credentials:
        return CredentialsSource.CAPTURED
    if sandbox is not None and sandbox.credentials == CredentialsSource.DEFAULT:
        return CredentialsSource.DEFAULT
    return CredentialsSource.NONE


def _describe_database(database: DatabaseCluster | None, sandbox: Sandbox | None) -> Mapping[str, object]:
    return {
        "cluster": database.name if database else None,
        "namespace": database.namespace if database else None,
        "origin": database.origin if database else None,
        "phase": database.phase if database else None,
        "host": (database.host or None) if database else None,
        "port": database.port if database else None,
        "database": (database.database or None) if database else None,
        "username": (database.username or None) if database else None,
        "credentials": credentials_of(database, sandbox).value,
        "verified": bool(database and database.is_verified),
        "last_verified_at": _iso(database.proved_at) if database else None,
    }


def _describe_sandbox(sandbox: Sandbox | None) -> Mapping[str, object]:
    return {
        "name": sandbox.name if sandbox else None,
        "phase": sandbox.phase if sandbox else None,
        "urls": sandbox.urls if sandbox else {},
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
