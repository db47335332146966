"""`manage.py retry NAME…`: repeat the last request of projects, with a new deadline."""

from projects.domain.request_policy import Request
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.provisioning import request_retry
from provisioning.management.console import actor
from provisioning.management.request_command import Options, RequestCommand


class Command(RequestCommand):
    help = (
        "Repeat the last request of a project (a provisioning, a deletion or a cancellation) with a new deadline. "
        "Refused for a project that is not provisioned or is deleted."
    )
    examples = ("retry shop --wait",)
    request = Request.RETRY

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_retry(project, actor=actor(), may_adopt=True)
