"""`manage.py credentials NAME`: a project's captured credentials, masked unless a reason is given."""

import json
import shlex
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from projects.confidential.redaction import MASK, redact
from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource
from projects.models import Project
from projects.services.credentials import reveal_credentials
from projects.services.outcome import RefusedRequestError
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, actor, find_projects, stop
from provisioning.management.summary import credentials_of


class Command(PanelCommand):
    help = (
        "Show a project's captured credentials. The password is masked; --reveal shows it, and writes who looked and "
        "why into the project's timeline."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reveal", action="store_true", help="show the password; needs --reason")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the project's timeline")
        parser.add_argument(
            "--format",
            choices=("url", "env", "json"),
            help="url: the URL alone; env: NAME=value lines, quoted where a shell needs it, which exports them to its "
            "programs after `set -a` (set -a; source FILE; set +a); json: one object",
        )

    def handle(self, *, name: str, reveal: bool, reason: str, format: str | None, **options: Any) -> None:
        if reveal and not reason.strip():
            raise stop(WRONG_USAGE, "Say why you need the credentials: --reason TEXT goes into the project's timeline.")
        if reason and not reveal:
            raise stop(WRONG_USAGE, "--reason goes with --reveal: say --reveal as well to see the password.")
        (project,) = find_projects([name], may_be_new=True)
        shown = self._revealed(project, reason) if reveal else _masked(project)
        if format is None:
            width = max(map(len, ("Project", *shown.environment)))
            lines = {"Project": project.name, "Verified": _verified(project), **shown.environment}
            self.stdout.write("\n".join(f"{title:<{width}}  {value}" for title, value in lines.items()))
        else:
            self.stdout.write(_formatted(project, shown, format))
        if not reveal:
            self.say("The password is masked. To see it: --reveal --reason TEXT")

    def _revealed(self, project: Project, reason: str) -> Connection:
        try:
            return reveal_credentials(project, actor=actor(), reason=reason)
        except RefusedRequestError as error:
            raise stop(FAILED, _explain_none(project, str(error))) from None


class _MaskedConnection(Connection):
    """A connection whose password is the mask, written as it is into the URL."""

    @property
    def url(self) -> str:
        return redact(super().url)


def _masked(project: Project) -> Connection:
    """Return the captured credentials with the mask for a password. Raises CommandError (1) where there are none."""
    database = project.database
    if database is None or credentials_of(database, None) is not CredentialsSource.CAPTURED or database.port is None:
        waiting = project.message or "it was never provisioned."
        raise stop(FAILED, _explain_none(project, f"{project.name} has no captured credentials yet: {waiting}"))
    return _MaskedConnection(database.host, database.port, database.database, database.username, MASK)


def _explain_none(project: Project, why: str) -> str:
    if credentials_of(project.database, project.sandbox) is CredentialsSource.DEFAULT:
        return f"{why} Its sandbox runs with the default credentials meanwhile, which are not the project's own."
    return why


def _verified(project: Project) -> str:
    database = project.database
    if database is None or not database.is_verified:
        return f"no: {(database and database.verification_note) or 'not tried yet'}"
    return "yes, by a connection"


def _formatted(project: Project, shown: Connection, format: str) -> str:
    if format == "url":
        return shown.url
    if format == "env":
        return "\n".join(f"{name}={shlex.quote(value)}" for name, value in shown.environment.items())
    facts: Mapping[str, object] = {
        "project": project.name,
        "host": shown.host,
        "port": shown.port,
        "database": shown.database,
        "username": shown.username,
        "password": shown.password,
        "url": shown.url,
        "credentials": CredentialsSource.CAPTURED.value,
        "verified": bool(project.database and project.database.is_verified),
    }
    return json.dumps(facts, ensure_ascii=False)
