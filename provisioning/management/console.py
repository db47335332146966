"""What the panel's commands share: one-sentence errors, exit codes, who acts, names, following a provisioning."""

import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from projects.audit.log import shell_user
from projects.confidential.encrypted_fields import UndecryptableValueError
from projects.confidential.plain_text import plain
from projects.confidential.redaction import redact
from projects.domain import naming
from projects.domain.panel_database import explain_unusable, is_unusable
from projects.domain.states import Phase
from projects.models import Project
from provisioning.management.summary import describe

DONE, FAILED, WRONG_USAGE, TIMED_OUT = 0, 1, 2, 3
COLUMNS = ("Project", "Phase", "Reason", "Database", "Sandbox", "Message")


class PanelCommand(BaseCommand):
    """A command whose errors are sentences on stderr: no class names, no tracebacks (but with `--traceback`).

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out.
    """

    # The checks of the whole project take longer than most of these commands.
    requires_system_checks = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return self._execute_explained(*args, **options)
        except CommandError as error:
            if not getattr(self, "_called_from_command_line", False) or options.get("traceback"):
                raise
            self.stderr.write(str(error), lambda text: text)
            sys.exit(error.returncode)
        except KeyboardInterrupt:
            sys.exit(130)

    def _execute_explained(self, *args: Any, **options: Any) -> str | None:
        refuse_unreadable(options)
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            if not is_unusable(error):
                raise
            raise stop(FAILED, explain_database_error(error)) from error
        except (UndecryptableValueError, ImproperlyConfigured) as error:
            raise stop(FAILED, str(error)) from error
        except BrokenPipeError:
            # Whoever reads (`| head`) has read enough; nothing may complain at exit either.
            sys.stdout = None
            return None

    def say(self, line: str) -> None:
        """Print a line for people on stderr, at once."""
        self.stderr.write(line, lambda text: text)
        self.stderr.flush()

    def print_json(self, projects: Iterable[Project]) -> None:
        """Print one line of JSON for each project on stdout."""
        for project in projects:
            self.stdout.write(json.dumps(describe(project), ensure_ascii=False))


def refuse_unreadable(options: Mapping[str, Any]) -> None:
    """Raise CommandError (2) for an argument that no database takes: a shell hands on bytes that are no UTF-8."""
    for name, value in options.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                raise stop(
                    WRONG_USAGE, f"The argument {name} holds something that is not text in UTF-8. Type it again."
                )


def stop(code: int, message: str) -> CommandError:
    """Return the error that ends a command with this exit code and this sentence on stderr: of what was typed and is
    quoted in it, only characters that print."""
    return CommandError("\n".join(map(plain, message.split("\n"))), returncode=code)


def explain_database_error(error: DatabaseError) -> str:
    """Return what is likely wrong with the panel's own database, and what to do."""
    said = " ".join(redact(str(error)).split()).rstrip(".")
    return f"{explain_unusable(error) or 'The panel made an error with its database.'} The database says: {said}."


def actor() -> str:
    """Return who acts, as the timeline has it."""
    return shell_user()


def sentences(error: ValidationError) -> str:
    return " ".join(error.messages)


def find_project(name: str) -> Project | None:
    """Return the project of that name, as written or as Kubernetes has it; deleted ones too."""
    tidy = " ".join(name.split())
    found = Project.objects.with_resources().filter(name=tidy).first()
    return found or Project.objects.with_resources().filter(kubernetes_name=tidy).first()


def without_repeats(names: Iterable[str]) -> list[str]:
    """Return the names in their order, white space tidied, each once."""
    return list(dict.fromkeys(" ".join(name.split()) for name in names))


def find_projects(names: Sequence[str], *, may_be_new: bool = False) -> list[Project]:
    """Return the projects of these names, each once. Raises CommandError (1) that says what to do about others."""
    projects, unknown = look_up(names, may_be_new=may_be_new)
    if unknown:
        raise stop(FAILED, "\n".join(unknown))
    return projects


def look_up(names: Sequence[str], *, may_be_new: bool) -> tuple[list[Project], list[str]]:
    """Return the projects of these names, each once, and for each unknown name what to say about it: with
    `may_be_new`, which Clusters there are that it may stand for, and how to add it."""
    found: dict[int, Project] = {}
    unknown: list[str] = []
    for name in without_repeats(names):
        project = find_project(name)
        if project is not None:
            found[project.pk] = project
            continue
        unknown.append(_explain_hostile(name) or (_explain_new(name) if may_be_new else _explain_unknown(name)))
    return list(found.values()), unknown


def _explain_unknown(name: str) -> str:
    return f"There is no project {name}. `manage.py status` lists the projects."


def _explain_new(name: str) -> str:
    # Imported only here: it asks the API server, which costs a second that other calls need not pay.
    from provisioning.inventory.adoption import explain_unknown

    return (
        f"{explain_unknown(name, settings.KUBE_NAMESPACE)}\n"
        f"`manage.py status` lists the projects; `manage.py provision {shlex.quote(name)}` adds this one."
    )


def _explain_hostile(name: str) -> str:
    """Return what is wrong with a name that no project can have; "" if one can."""
    try:
        naming.clean_name(name)
    except naming.InvalidNameError as error:
        return f"There is no project {shown(name)}. {error}"
    return ""


def shown(name: str) -> str:
    """Return a name as it can stand in a line: quoted, cut, without control characters."""
    printable = "".join(character if character.isprintable() else "�" for character in name)
    return f"'{printable[:60]}{'…' if len(printable) > 60 else ''}'"


def reload(projects: Iterable[Project]) -> list[Project]:
    """Return the same projects, in the same order, as the rows say now: three queries whatever the number."""
    keys = [project.pk for project in projects]
    rows = {project.pk: project for project in Project.objects.with_resources().filter(pk__in=keys)}
    return [rows[key] for key in keys if key in rows]


class Follower:
    """Follows projects through their rows and tells each step once.

    What was reached before the follower was made counts as old: make it before the request, or say that all is new.
    """

    def __init__(self, projects: Iterable[Project], *, all_is_new: bool = False) -> None:
        self.projects = reload(projects)
        self._width = max((len(project.name) for project in self.projects), default=0)
        self._told: set[tuple[int, str, datetime]] = set()
        if not all_is_new:
            self._told.update(self._key(*reached) for reached in self._reached())
        self._told_outcome: set[tuple[int, int]] = set()

    @staticmethod
    def _key(
        project: Project, step: str, at: datetime, _label: str, _duration_s: float | None
    ) -> tuple[int, str, datetime]:
        return project.pk, step, at

    def _reached(self) -> Iterator[tuple[Project, str, datetime, str, float | None]]:
        for project in self.projects:
            for reached in project.steps():
                if reached.at is not None:
                    yield project, reached.step.value, reached.at, reached.label, reached.duration_s

    @property
    def is_over(self) -> bool:
        """Whether every project is carried out: up, failed or deleted, and nothing more expected."""
        return all(project.is_carried_out for project in self.projects)

    def look(self) -> list[str]:
        """Read the rows again; return a line for each step reached since, the earliest first."""
        self.projects = reload(self.projects)
        new = [reached for reached in self._reached() if self._key(*reached) not in self._told]
        lines = []
        for project, step, at, label, duration_s in sorted(new, key=lambda reached: reached[2]):
            self._told.add((project.pk, step, at))
            took = f"  +{duration_s:.1f} s" if duration_s is not None else ""
            lines.append(f"{clock(at)}  {project.name:<{self._width}}  {label}{took}")
        for project in self.projects:
            outcome = project.pk, project.wanted_generation
            if project.is_carried_out and project.phase == Phase.FAILED and outcome not in self._told_outcome:
                self._told_outcome.add(outcome)
                lines.append(f"{clock(timezone.now())}  {project.name:<{self._width}}  Failed: {project.message}")
        return lines


def clock(at: datetime) -> str:
    return timezone.localtime(at).strftime("%H:%M:%S")


def table_of(projects: Iterable[Project]) -> Table:
    """Return projects as a table for a terminal, with reason and message in one column: it has to fit 80 characters."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Project", "Phase", "Database", "Sandbox", "Reason and message"):
        table.add_column(title, no_wrap=title in ("Project", "Phase"), overflow="fold")
    for project in projects:
        name, phase, reason, database, sandbox, message = cells(project)
        table.add_row(name, phase, database, sandbox, message if reason == "-" else f"{reason}: {message}")
    return table


def cells(project: Project) -> tuple[str, str, str, str, str, str]:
    """Return what the table says of a project, a cell for each of COLUMNS; the reason as `--json` has it."""
    database, sandbox = project.database, project.sandbox
    return (
        project.name,
        project.phase,
        project.reason or "-",
        f"{database.host}:{database.port}" if database and database.host else (database.phase if database else "-"),
        sandbox.phase if sandbox else "-",
        project.message or "-",
    )


def plain_table_of(projects: Iterable[Project]) -> list[str]:
    """Return projects as aligned lines, none of them wrapped, for pipes and files."""
    rows = [tuple(title.upper() for title in COLUMNS), *(cells(project) for project in projects)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def terminal(stream: Any) -> Console:
    """Return a rich console on a command's stream."""
    return Console(file=getattr(stream, "_out", stream), highlight=False, markup=False)
