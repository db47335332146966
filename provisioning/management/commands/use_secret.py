"""`manage.py use_secret NAME…`: use the password in a database's Secret although it is not verified."""

from collections.abc import Sequence

from projects.domain.request_policy import Request
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.replaced_secret import request_use_secret
from provisioning.management.console import actor
from provisioning.management.request_command import Options, RequestCommand, last_failures


class Command(RequestCommand):
    help = (
        "Use the password in the Secret of a project's database in place of the verified one, and restart the sandbox "
        "with it. For databases that the panel can't connect to: a password that the server rejects is not used."
    )
    examples = ("use_secret shop --wait",)
    request = Request.USE_SECRET

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_use_secret(project, actor=actor())

    def find_failures(self, projects: Sequence[Project]) -> list[str]:
        return last_failures(projects, done="CredentialsCaptured", failed="SecretNotChanged")
