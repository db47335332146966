"""`manage.py credentials NAME`: a project's captured credentials, masked unless a reason is given."""

import json
import shlex
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from projects.confidential.redaction import MASK, redact
from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource
from projects.domain.verification import describe_proof
from projects.models import Project
from projects.services.credentials import reveal_credentials
from projects.services.outcome import RefusedRequestError
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, actor, command_error
from provisioning.management.lookup import find_projects
from provisioning.management.summary import credentials_of


class Command(PanelCommand):
    help = (
        "Show the captured credentials of a project's database. The password is masked; --reveal shows it, and records "
        "the user and the reason in the project's events."
    )
    examples = (
        "credentials shop",
        "credentials shop --reveal --reason 'restore a dump' --format url",
        "credentials shop --reveal --reason 'local debugging' --format env > .env",
    )
    exit_codes = "0 done, 1 failed or no credentials, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--reveal", action="store_true", help="show the password; requires --reason")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why you need it; recorded in the events")
        parser.add_argument(
            "--format",
            choices=("url", "env", "json"),
            help="url: the connection URL only; env: NAME=value lines, quoted for a shell (to export them: set -a; "
            "source FILE; set +a); json: one JSON object",
        )

    def handle(self, *, name: str, reveal: bool, reason: str, format: str | None, **options: Any) -> None:
        if reveal and not reason.strip():
            raise command_error(
                WRONG_USAGE,
                "Say why you need the credentials with --reason TEXT. It is recorded in the project's events.",
            )
        if reason and not reveal:
            raise command_error(WRONG_USAGE, "--reason works only with --reveal. Add --reveal to see the password.")
        (project,) = find_projects([name], may_be_new=True)
        credentials = self._revealed(project, reason) if reveal else _masked(project)
        if format is None:
            width = max(map(len, ("Project", *credentials.environment)))
            lines = {"Project": project.name, "Verified": _verified(project), **credentials.environment}
            self.stdout.write("\n".join(f"{title:<{width}}  {value}" for title, value in lines.items()))
        else:
            self.stdout.write(_formatted(project, credentials, format))
        if not reveal:
            self.say("The password is masked. To see it, add --reveal --reason TEXT.")

    def _revealed(self, project: Project, reason: str) -> Connection:
        try:
            return reveal_credentials(project, actor=actor(), reason=reason)
        except RefusedRequestError as error:
            raise command_error(FAILED, _explain_none(project, str(error))) from None


class _MaskedConnection(Connection):
    """A connection whose password is the mask, which its URL contains unencoded."""

    @property
    def url(self) -> str:
        return redact(super().url)


def _masked(project: Project) -> Connection:
    """Return the captured credentials with the password masked. Raises CommandError (1) if there are none."""
    database = project.database
    if database is None or credentials_of(database, None) is not CredentialsSource.CAPTURED or database.port is None:
        waiting = project.message or "it is not provisioned."
        raise command_error(
            FAILED, _explain_none(project, f"{project.name} has no captured credentials yet: {waiting}")
        )
    return _MaskedConnection(database.host, database.port, database.database, database.username, MASK)


def _explain_none(project: Project, why: str) -> str:
    if credentials_of(project.database, project.sandbox) is CredentialsSource.DEFAULT:
        return f"{why} Its sandbox uses the default credentials, which are not the project's own."
    return why


def _verified(project: Project) -> str:
    database = project.database
    if database is None:
        return "no: not tried yet"
    return f"{'yes' if database.is_verified else 'no'}. {describe_proof(database, timezone.now())}"


def _formatted(project: Project, credentials: Connection, format: str) -> str:
    if format == "url":
        return credentials.url
    if format == "env":
        return "\n".join(f"{name}={shlex.quote(value)}" for name, value in credentials.environment.items())
    facts: Mapping[str, object] = {
        "project": project.name,
        "host": credentials.host,
        "port": credentials.port,
        "database": credentials.database,
        "username": credentials.username,
        "password": credentials.password,
        "url": credentials.url,
        "credentials": CredentialsSource.CAPTURED.value,
        "verified": bool(project.database and project.database.is_verified),
    }
    return json.dumps(facts, ensure_ascii=False)
