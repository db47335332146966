"""`manage.py cancel NAME…`: cancel provisionings before the projects have run."""

from projects.domain.request_policy import Request
from projects.models import Project
from projects.services.cancellation import request_cancel
from projects.services.outcome import Outcome
from provisioning.management.console import actor
from provisioning.management.request_command import Options, RequestCommand


class Command(RequestCommand):
    help = (
        "Cancel a provisioning: delete what it created, release an adopted Cluster, and return the project to New. "
        "Refused for a project that has run, because its data would be deleted."
    )
    examples = ("cancel shop", "cancel shop blog --wait")
    request = Request.CANCEL

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_cancel(project, actor=actor())
