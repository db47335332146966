"""Bulk actions of projects: one request for each, and messages with the outcomes."""

from collections.abc import Callable, Iterable

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from projects.domain.permissions import may
from projects.models import Project
from projects.pages.list import UNSETTLED
from projects.services.outcome import Outcome

# A message or a confirmation names this many projects and counts the rest.
NAMED = 50
# Up to this many outcomes get a message each; more are grouped.
_MESSAGES_PER_ACTION = 8


def request_each(
    request: HttpRequest, projects: Iterable[Project], codename: str, request_one: Callable[..., Outcome]
) -> None:
    """Make the request for each project that the user has the permission for, and show the outcomes."""

    def ask(project: Project) -> Outcome:
        if not may(request.user, codename, project):
            return Outcome(
                False, f"{project.name}: you don't have permission for other people's projects (needs: {codename})."
            )
        return request_one(project, actor=request.user.get_username())

    outcomes = [(project, ask(project)) for project in projects]
    for add_message, accepted in ((messages.success, True), (messages.warning, False)):
        kind = [(project, outcome) for project, outcome in outcomes if outcome.accepted is accepted]
        if len(kind) <= _MESSAGES_PER_ACTION:
            for _, outcome in kind:
                add_message(request, outcome.message)
        else:
            add_message(request, _group(kind))
    accepted_projects = [project for project, outcome in outcomes if outcome.accepted]
    if accepted_projects:
        messages.info(request, _live_view_link(accepted_projects))


def _live_view_link(projects: list[Project]) -> SafeString:
    """Return a link to the page that shows the progress, since the admin's list doesn't refresh: the page of a single
    project, or the live view of all projects in progress."""
    if len(projects) == 1:
        url, text = projects[0].get_absolute_url(), f"View progress of {projects[0].name}"
    else:
        url, text = f"{reverse('projects:list')}?phase={UNSETTLED}", "View progress of all projects"
    return format_html('<a class="panel-link" href="{}">{}</a>', url, text)


def _group(outcomes: list[tuple[Project, Outcome]]) -> SafeString:
    """Return one line for each distinct message, with the names of its projects."""
    names: dict[str, list[str]] = {}
    for project, outcome in outcomes:
        names.setdefault(_without_name(project, outcome.message), []).append(project.name)
    lines = [
        (f"{len(of)} projects" if len(of) > 1 else of[0], message, f" ({_first(of)})" if len(of) > 1 else "")
        for message, of in names.items()
    ]
    return format_html_join("", "<p><strong>{}</strong>: {}{}</p>", lines)


def _without_name(project: Project, message: str) -> str:
    """Return the message as it reads after a number of projects: "aaa is not provisioned." → "Not provisioned."."""
    rest = message.removeprefix(f"{project.name}:").removeprefix(f"{project.name} ").strip()
    return str(capfirst(rest.removeprefix("is ")))


def _first(names: list[str]) -> str:
    """Return the names, comma-separated; beyond the first ones, their number."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
