"""Projects as a table: with columns that wrap on a terminal, as aligned lines for pipes and files."""

from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from rich.console import Console
from rich.table import Table

from projects.domain.verification import describe_proof
from projects.models import Project

COLUMNS = ("Project", "Phase", "Reason", "Database", "Sandbox", "Message")


def terminal(stream: Any) -> Console:
    """Return a rich console on a command's stream."""
    return Console(file=getattr(stream, "_out", stream), highlight=False, markup=False)


def build_table(projects: Iterable[Project]) -> Table:
    """Return a table for a terminal. Reason and message share a column, so that it fits 80 characters."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Project", "Phase", "Database", "Sandbox", "Reason and message"):
        table.add_column(title, no_wrap=title in ("Project", "Phase"), overflow="fold")
    for project in projects:
        name, phase, reason, database, sandbox, message = _cells(project)
        table.add_row(name, phase, database, sandbox, message if reason == "-" else f"{reason}: {message}")
    return table


def build_plain_table(projects: Iterable[Project]) -> list[str]:
    """Return aligned lines, none of them wrapped."""
    rows = [tuple(title.upper() for title in COLUMNS), *(_cells(project) for project in projects)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _cells(project: Project) -> tuple[str, str, str, str, str, str]:
    """Return a cell for each of COLUMNS; the reason as in the JSON output."""
    database, sandbox = project.database, project.sandbox
    proof = describe_proof(database, timezone.now()) if database and database.has_credentials else ""
    # Where the proof fails, the project's message may say why already.
    if database and database.verification_note and database.verification_note in project.message:
        proof = proof.removeprefix(database.verification_note)
    return (
        project.name,
        project.phase,
        project.reason or "-",
        f"{database.host}:{database.port}" if database and database.host else (database.phase if database else "-"),
        sandbox.phase if sandbox else "-",
        f"{project.message} {proof}".strip() or "-",
    )
