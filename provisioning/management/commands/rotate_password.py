"""`manage.py rotate_password NAME…`: give databases new passwords, and restart their sandboxes with them."""

from argparse import ArgumentParser
from collections.abc import Sequence

from projects.domain.request_policy import Refusal, Request
from projects.models import Project
from projects.services.outcome import Outcome
from projects.services.password_rotation import find_rotation_refusal, request_password_rotation
from provisioning.management.console import actor
from provisioning.management.request_command import Options, RequestCommand, last_failures


class Command(RequestCommand):
    help = (
        "Rotate the password of a project's database: set a new one, prove it with a connection, write it to the "
        "database's Secret, and restart the sandbox with it."
    )
    examples = ("rotate_password shop --wait",)
    request = Request.ROTATE_PASSWORD

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--with-adopted", action="store_true", help="include adopted databases; their other users lose access"
        )

    def find_refusal(self, project: Project, options: Options) -> Refusal | None:
        return find_rotation_refusal(project, with_adopted=options["with_adopted"])

    def ask(self, project: Project, options: Options) -> Outcome:
        return request_password_rotation(project, actor=actor(), with_adopted=options["with_adopted"])

    def find_failures(self, projects: Sequence[Project]) -> list[str]:
        return last_failures(projects, done="PasswordRotated", failed="PasswordNotChanged")
