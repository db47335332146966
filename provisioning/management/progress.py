"""The progress of requests, read from the projects' rows: as lines, or as bars on a terminal."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from django.utils import timezone
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from projects.domain.progress import ReachedStep
from projects.domain.states import Origin, Phase, Step
from projects.models import Project
from provisioning.management.lookup import reload_projects
from provisioning.management.summary import credentials_of
from provisioning.management.tables import terminal

REFRESH_EVERY_S = 0.2
# The phase in which a project's request is done, by the project's key.
Awaited = Mapping[int, Phase]


class ProgressTracker:
    """Follows projects through their rows and reports each step once.

    Steps that were reached before the tracker was made are not reported: make it before the request, or pass
    `reports_past`.
    """

    def __init__(self, projects: Iterable[Project], *, reports_past: bool = False) -> None:
        self.projects = reload_projects(projects)
        self._width = max((len(project.name) for project in self.projects), default=0)
        self._reported: set[tuple[int, Step, datetime]] = set()
        if not reports_past:
            self._reported.update((project.pk, step.step, at) for project, step, at in self._reached())
        self._reported_failures: set[tuple[int, int]] = set()

    def _reached(self) -> Iterator[tuple[Project, ReachedStep, datetime]]:
        for project in self.projects:
            for step in project.steps():
                if step.at is not None:
                    yield project, step, step.at

    @property
    def is_finished(self) -> bool:
        """Whether the last request of every project is carried out: it has succeeded or failed."""
        return all(project.is_carried_out for project in self.projects)

    def refresh(self) -> list[str]:
        """Read the rows again; return a line for each step reached since, in the order of their times."""
        self.projects = reload_projects(self.projects)
        lines = []
        for project, step, at in sorted(self._reached(), key=lambda reached: reached[2]):
            key = project.pk, step.step, at
            if key in self._reported:
                continue
            self._reported.add(key)
            duration = f"  +{step.duration_s:.1f} s" if step.duration_s is not None else ""
            lines.append(self._line(at, project, f"{step.label}{duration}"))
        for project in self.projects:
            intent = project.pk, project.wanted_generation
            if project.is_carried_out and project.phase == Phase.FAILED and intent not in self._reported_failures:
                self._reported_failures.add(intent)
                lines.append(self._line(timezone.now(), project, f"Failed: {project.message}"))
        return lines

    def _line(self, at: datetime, project: Project, text: str) -> str:
        return f"{timezone.localtime(at):%H:%M:%S}  {project.name:<{self._width}}  {text}"


def is_done(project: Project, awaited: Awaited) -> bool:
    """Whether the project has reached the phase that its request is for."""
    return project.is_carried_out and project.phase == awaited[project.pk]


def outcome_line(project: Project) -> str:
    """Return the result of a project's request in one line."""
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


def show_bars(stream: object, tracker: ProgressTracker, until_s: float, awaited: Awaited) -> None:
    """Draw a bar for each project until all requests are carried out, or until this monotonic time. A bar has the steps
    of a provisioning, or one step for any other request."""
    widest = max(len(project.name) for project in tracker.projects)
    columns = (
        TextColumn("{task.description}", table_column=Column(min_width=widest, no_wrap=True), markup=False),
        BarColumn(bar_width=20, table_column=Column(min_width=20)),
        MofNCompleteColumn(table_column=Column(min_width=3)),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn(
            "{task.fields[status]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
        ),
    )
    totals = {key: len(Step) if phase is Phase.RUNNING else 1 for key, phase in awaited.items()}
    with Progress(*columns, console=terminal(stream), expand=True) as progress:
        bars = {
            project.pk: progress.add_task(project.name, total=totals[project.pk], status="")
            for project in tracker.projects
        }
        while True:
            tracker.refresh()
            for project in tracker.projects:
                total = totals[project.pk]
                reached = sum(step.at is not None for step in project.steps()) if total > 1 else 0
                completed = total if is_done(project, awaited) else reached
                progress.update(bars[project.pk], completed=completed, status=f"{project.phase}: {project.message}")
                if project.is_carried_out:
                    progress.stop_task(bars[project.pk])
            if tracker.is_finished or time.monotonic() >= until_s:
                return
            time.sleep(REFRESH_EVERY_S)
