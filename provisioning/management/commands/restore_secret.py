"""`manage.py restore_secret NAME…`: write the verified password back to the Secret of a database."""

from collections.abc import Sequence

from projects.domain.request_policy import Request
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.replaced_secret import request_restore_secret
from provisioning.management.console import actor
from provisioning.management.request_command import Options, RequestCommand, last_failures


class Command(RequestCommand):
    help = (
        "Write the password that was verified back to the Secret of a project's database, after another one has taken "
        "its place there. The server and the sandbox keep the password."
    )
    examples = ("restore_secret shop --wait",)
    request = Request.RESTORE_SECRET

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_restore_secret(project, actor=actor())

    def find_failures(self, projects: Sequence[Project]) -> list[str]:
        return last_failures(projects, done="SecretRestored", failed="SecretNotChanged")
