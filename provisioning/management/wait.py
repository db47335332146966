"""Waiting for requests on the command line: a progress display on a terminal, plain lines elsewhere, an exit code."""

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping

from django.conf import settings
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from projects.domain.states import Origin, Phase, Reason, Step
from projects.models import Project
from projects.services.outcome import Outcome
from provisioning import heartbeats
from provisioning.management.console import (
    DONE,
    FAILED,
    TIMED_OUT,
    Follower,
    PanelCommand,
    reload,
    shown,
    stop,
    terminal,
)
from provisioning.management.hints import how_to_start
from provisioning.management.summary import credentials_of

_LOOK_EVERY_S = 0.2
# Beyond a project's own deadline, so that its row can say first what was seen last.
_PATIENCE_S = 60
# The phase in which what was asked for is done: of all projects, or of each by its key.
Wanted = Phase | Mapping[int, Phase]


def add_waiting_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="end only when it is done or has failed")
    parser.add_argument(
        "--timeout-s",
        type=positive_seconds,
        default=float(settings.READY_TIMEOUT_S + _PATIENCE_S),
        metavar="N",
        help="give up waiting after N seconds (default: %(default)g); what was asked for goes on all the same",
    )
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON for each project on stdout, progress on stderr"
    )


def positive_seconds(text: str) -> float:
    """Return the seconds that `text` says. Raises ArgumentTypeError for anything but a positive number."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10_000_000:
        raise ArgumentTypeError(f"{shown(text)} is not a number of seconds above 0")
    return seconds


def warn_if_nobody_works(command: PanelCommand, consequence: str = "what was asked for waits") -> None:
    """Say on stderr, in one sentence, that nothing works on the queue, what follows from it, and what to start."""
    if not heartbeats.read().queue.alive:
        command.say(f"Nothing works on the queue, so {consequence}: start {how_to_start('qcluster')}.")


def ask_for(
    command: PanelCommand, projects: Iterable[Project], request: Callable[[Project], Outcome], *, as_json: bool
) -> tuple[list[Project], list[str]]:
    """Make the request for each project, and say on stdout which were accepted (nothing `as_json`); return these
    projects, and why the others were refused."""
    outcomes = [(project, request(project)) for project in projects]
    if not as_json:
        for _, outcome in outcomes:
            if outcome.accepted:
                command.stdout.write(outcome.message)
    accepted = [project for project, outcome in outcomes if outcome.accepted]
    return accepted, [outcome.message for _, outcome in outcomes if not outcome.accepted]


def finish(
    command: PanelCommand, follower: Follower, *, wait: bool, timeout_s: float, as_json: bool, wanted: Wanted
) -> None:
    """Once requests are in the queue: follow them if asked to `wait`, else print their rows `as_json`.

    Raises SystemExit with the code of `follow` where that is not 0.
    """
    if not follower.projects:
        return
    command.stdout.flush()
    warn_if_nobody_works(command)
    if wait:
        code = follow(command, follower, timeout_s=timeout_s, as_json=as_json, wanted=wanted)
        if code:
            sys.exit(code)
    elif as_json:
        command.print_json(reload(follower.projects))


def follow(command: PanelCommand, follower: Follower, *, timeout_s: float, as_json: bool, wanted: Wanted) -> int:
    """Follow the rows until every project is carried out or time is up; return the exit code.

    0 when all are in the `wanted` phase; 3 when the rest are late (this wait or their own deadline ran out); 1 when
    one has failed in another way. Then prints what became of each: JSON on stdout, or a line.
    """
    until_s = time.monotonic() + timeout_s
    stream = command.stderr if as_json else command.stdout
    try:
        if stream.isatty():
            _show_progress(stream, follower, until_s, wanted)
        else:
            while True:
                for line in follower.look():
                    stream.write(line, lambda text: text)
                    stream.flush()
                if follower.is_over or time.monotonic() >= until_s:
                    break
                time.sleep(_LOOK_EVERY_S)
    except KeyboardInterrupt:
        raise stop(130, "Stopped waiting; what was asked for goes on all the same.") from None
    projects = follower.projects
    if as_json:
        command.print_json(projects)
    else:
        for project in projects:
            command.stdout.write(outcome_line(project))
    late = [project.name for project in projects if not project.is_carried_out]
    if late:
        goes_on = "It goes on" if heartbeats.read().queue.alive else f"It goes on after {how_to_start('qcluster')}"
        command.say(
            f"Not done after {timeout_s:g} s: {', '.join(late)}. {goes_on}; `manage.py status` says how far it is."
        )
    return exit_code(projects, wanted)


def exit_code(projects: Iterable[Project], wanted: Wanted) -> int:
    """Return 0, 1 or 3: done, failed, timed out; a failure weighs more than a time-out."""
    others = [project for project in projects if not _is_done(project, wanted)]
    if not others:
        return DONE
    is_late = all(not project.is_carried_out or project.reason == Reason.DEADLINE_EXCEEDED for project in others)
    return TIMED_OUT if is_late else FAILED


def _wanted_phase(project: Project, wanted: Wanted) -> Phase:
    return wanted if isinstance(wanted, Phase) else wanted[project.pk]


def _is_done(project: Project, wanted: Wanted) -> bool:
    return project.is_carried_out and project.phase == _wanted_phase(project, wanted)


def outcome_line(project: Project) -> str:
    """Return what became of a project in one line."""
    line = f"{project.name}: {project.phase}. {project.message}"
    database, sandbox = project.database, project.sandbox
    if project.phase != Phase.RUNNING or database is None:
        return line
    verified = "verified" if database.is_verified else f"not verified: {database.verification_note or 'not tried yet'}"
    adopted = "adopted " if database.origin == Origin.ADOPTED else ""
    facts = [
        f"{adopted}database {database.name} at {database.host}:{database.port} "
        f"(credentials {credentials_of(database, sandbox).value}, {verified.rstrip('.')})"
    ]
    if sandbox is not None:
        urls = " ".join(str(url) for url in sandbox.urls.values())
        facts.append(f"sandbox {sandbox.name} {urls}".rstrip())
    return f"{line} {'; '.join(facts)}"


def _show_progress(stream: object, follower: Follower, until_s: float, wanted: Wanted) -> None:
    """Draw a bar for each project until all is over or time is up: its steps, or whether it is gone."""
    widest = max(len(project.name) for project in follower.projects)
    columns = (
        TextColumn("{task.description}", table_column=Column(min_width=widest, no_wrap=True), markup=False),
        BarColumn(bar_width=20, table_column=Column(min_width=20)),
        MofNCompleteColumn(table_column=Column(min_width=3)),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn(
            "{task.fields[said]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
        ),
    )
    totals = {
        project.pk: len(Step) if _wanted_phase(project, wanted) is Phase.RUNNING else 1 for project in follower.projects
    }
    with Progress(*columns, console=terminal(stream), expand=True) as progress:
        bars = {
            project.pk: progress.add_task(project.name, total=totals[project.pk], said="")
            for project in follower.projects
        }
        while True:
            follower.look()
            for project in follower.projects:
                total = totals[project.pk]
                reached = sum(step.at is not None for step in project.steps()) if total > 1 else 0
                completed = total if _is_done(project, wanted) else reached
                progress.update(bars[project.pk], completed=completed, said=f"{project.phase}: {project.message}")
                if project.is_carried_out:
                    progress.stop_task(bars[project.pk])
            if follower.is_over or time.monotonic() >= until_s:
                return
            time.sleep(_LOOK_EVERY_S)
