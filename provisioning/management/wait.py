"""`--wait`: waiting until requests are carried out, and the exit code that they come to."""

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable

from django.conf import settings

from projects.domain.states import Reason
from projects.models import Project
from provisioning import heartbeats
from provisioning.management.console import (
    DONE,
    FAILED,
    INTERRUPTED,
    TIMED_OUT,
    PanelCommand,
    add_json_argument,
    command_error,
    quoted,
)
from provisioning.management.hints import how_to_start
from provisioning.management.lookup import reload_projects
from provisioning.management.progress import (
    REFRESH_EVERY_S,
    Awaited,
    ProgressTracker,
    is_done,
    outcome_line,
    show_bars,
)

# Added to a project's own deadline, so that the project itself reports first that it is late.
_GRACE_S = 60


def add_waiting_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="wait until the request has succeeded or failed")
    parser.add_argument(
        "--timeout-s",
        type=positive_seconds,
        default=float(settings.READY_TIMEOUT_S + _GRACE_S),
        metavar="N",
        help="stop waiting after N seconds (default: %(default)g); the request continues",
    )
    add_json_argument(parser, "project")


def positive_seconds(text: str) -> float:
    """Return a number of seconds. Raises ArgumentTypeError for anything but a positive number."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10_000_000:
        raise ArgumentTypeError(f"{quoted(text)} is not a number of seconds above 0")
    return seconds


def warn_if_queue_stopped(command: PanelCommand, consequence: str = "requests wait") -> None:
    """Print a warning on stderr if no queue worker runs: what follows from that, and how to start one."""
    if not heartbeats.read().queue.alive:
        command.say(f"No queue worker is running, so {consequence}. Start one with {how_to_start('qcluster')}.")


def wait_or_print(
    command: PanelCommand, tracker: ProgressTracker, awaited: Awaited, *, wait: bool, timeout_s: float, as_json: bool
) -> None:
    """After requests were accepted: `wait` for them, or else print their projects `as_json`.

    Raises SystemExit with the exit code of `wait_for`, unless that is 0.
    """
    if not tracker.projects:
        return
    command.stdout.flush()
    warn_if_queue_stopped(command)
    if wait:
        code = wait_for(command, tracker, awaited, timeout_s=timeout_s, as_json=as_json)
        if code:
            sys.exit(code)
    elif as_json:
        command.print_projects_as_json(reload_projects(tracker.projects))


def wait_for(
    command: PanelCommand, tracker: ProgressTracker, awaited: Awaited, *, timeout_s: float, as_json: bool
) -> int:
    """Wait until every request is carried out or the time is up, and print the results; return the exit code."""
    until_s = time.monotonic() + timeout_s
    stream = command.stderr if as_json else command.stdout
    try:
        if stream.isatty():
            show_bars(stream, tracker, until_s, awaited)
        else:
            while True:
                for line in tracker.refresh():
                    stream.write(line, lambda text: text)
                    stream.flush()
                if tracker.is_finished or time.monotonic() >= until_s:
                    break
                time.sleep(REFRESH_EVERY_S)
    except KeyboardInterrupt:
        raise command_error(INTERRUPTED, "Stopped waiting. The request continues.") from None
    projects = tracker.projects
    if as_json:
        command.print_projects_as_json(projects)
    else:
        for project in projects:
            command.stdout.write(outcome_line(project))
    late = [project.name for project in projects if not project.is_carried_out]
    if late:
        is_working = heartbeats.read().queue.alive
        continues = "continues" if is_working else f"continues after {how_to_start('qcluster')}"
        command.say(
            f"Not done after {timeout_s:g} s: {', '.join(late)}. The request {continues}; check it with "
            "`manage.py status`."
        )
    return exit_code(projects, awaited)


def exit_code(projects: Iterable[Project], awaited: Awaited) -> int:
    """Return 0 if every project is in its awaited phase, 3 if the others are late, or 1 if one has failed in another
    way. Late: this wait has ended, or the project's own deadline was exceeded."""
    others = [project for project in projects if not is_done(project, awaited)]
    if not others:
        return DONE
    is_late = all(not project.is_carried_out or project.reason == Reason.DEADLINE_EXCEEDED for project in others)
    return TIMED_OUT if is_late else FAILED
