"""`manage.py adopt NAME --cluster CLUSTER`: make a database that exists already a project's own."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from projects.models import Project
from projects.services import add_project
from projects.states import Phase
from provisioning.adoption import list_clusters, request_adopt
from provisioning.kube import KubeError
from provisioning.management.console import (
    FAILED,
    WRONG_USAGE,
    Follower,
    PanelCommand,
    actor,
    find_project,
    reload,
    sentences,
    stop,
)
from provisioning.management.following import add_waiting_arguments, follow, warn_if_nobody_works


class Command(PanelCommand):
    help = (
        "Adopt a database cluster that exists already: label it as the project's, capture its credentials, make the "
        "sandbox. The project is added if it does not exist. Deleting the project later leaves the database be."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--cluster", required=True, metavar="CLUSTER", help="name of the KubeBlocks Cluster")
        add_waiting_arguments(parser)

    def handle(self, *, name: str, cluster: str, wait: bool, timeout_s: float, json: bool, **options: Any) -> None:
        try:
            project = find_project(name) or self._add(name, cluster, quiet=json)
            follower = Follower([project])
            outcome = request_adopt(project, cluster, actor=actor())
        except KubeError as error:
            raise stop(FAILED, str(error)) from None
        if not outcome.accepted:
            raise stop(FAILED, outcome.message)
        if not json:
            self.stdout.write(outcome.message)
            self.stdout.flush()
        warn_if_nobody_works(self)
        if wait:
            code = follow(self, follower, timeout_s=timeout_s, as_json=json, wanted=Phase.RUNNING)
            if code:
                sys.exit(code)
        elif json:
            self.print_json(reload([project]))

    def _add(self, name: str, cluster: str, *, quiet: bool) -> Project:
        """Add the project, once it is known that there is such a cluster. Raises CommandError and KubeError."""
        available = sorted(item.name for item in list_clusters(settings.KUBE_NAMESPACE))
        if cluster not in available:
            raise stop(
                FAILED,
                f"There is no cluster {cluster} in namespace {settings.KUBE_NAMESPACE}. "
                f"Available clusters: {', '.join(available) or 'none'}",
            )
        try:
            project = add_project(name, actor=actor())
        except ValidationError as error:
            raise stop(WRONG_USAGE, sentences(error)) from None
        if not quiet:
            self.stdout.write(f"Added the project {project.name} ({project.kubernetes_name} in Kubernetes).")
        return project
