"""`manage.py adopt NAME --cluster CLUSTER`: make a database that exists already a project's own."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from projects.domain.states import Phase
from projects.models import Project
from projects.services.adoption import Adoptable, request_adopt_for_new
from projects.services.outcome import Outcome
from provisioning.inventory.adoption import foresee_adoption, request_adopt
from provisioning.inventory.clusters import explain_obstacle, find_claimant, read_facts
from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import cluster_kind
from provisioning.management.console import (
    FAILED,
    WRONG_USAGE,
    Follower,
    PanelCommand,
    actor,
    find_project,
    sentences,
    stop,
)
from provisioning.management.dry_run import add_dry_run_argument, print_adoption
from provisioning.management.wait import add_waiting_arguments, finish
from provisioning.objects.names import name_some


class Command(PanelCommand):
    help = (
        "Adopt a database cluster that exists already: label it as the project's, capture its credentials, make the "
        "sandbox. A project that does not exist is added, if the adoption is accepted. Deleting the project later "
        "leaves the database be. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--cluster", required=True, metavar="CLUSTER", help="name of the KubeBlocks Cluster")
        add_dry_run_argument(parser)
        add_waiting_arguments(parser)

    def handle(
        self, *, name: str, cluster: str, dry_run: bool, wait: bool, timeout_s: float, json: bool, **options: Any
    ) -> None:
        project = find_project(name)
        try:
            if dry_run:
                self._foresee(project or Project(name=name, namespace=settings.KUBE_NAMESPACE), cluster, as_json=json)
                return
            if project is None:
                project, outcome = self._adopt_for_new(name, cluster)
                follower = Follower([project], all_is_new=True)
                if not json:
                    self.stdout.write(f"Added the project {project.name} ({project.kubernetes_name} in Kubernetes).")
            else:
                follower = Follower([project])
                outcome = request_adopt(project, cluster, actor=actor())
        except KubeError as error:
            raise stop(FAILED, str(error)) from None
        if not outcome.accepted:
            raise stop(FAILED, outcome.message)
        if not json:
            self.stdout.write(outcome.message)
        finish(self, follower, wait=wait, timeout_s=timeout_s, as_json=json, wanted=Phase.RUNNING)

    def _foresee(self, project: Project, cluster: str, *, as_json: bool) -> None:
        """Say what the adoption would come to. Raises CommandError (1, 2) where it would be refused, and KubeError."""
        if project._state.adding:
            try:
                project.full_clean()
            except ValidationError as error:
                raise stop(WRONG_USAGE, sentences(error)) from None
        found = foresee_adoption(project, cluster)
        if isinstance(found, Outcome):
            raise stop(FAILED, found.message)
        print_adoption(self, project, found, as_json=as_json)

    def _adopt_for_new(self, name: str, cluster: str) -> tuple[Project, Outcome]:
        """Add the project and ask for the adoption: both or neither.

        Raises CommandError where the name can't be used (2) or the adoption is refused (1), and KubeError.
        """
        namespace = settings.KUBE_NAMESPACE
        try:
            Project(name=name, namespace=namespace).full_clean()
        except ValidationError as error:
            raise stop(WRONG_USAGE, sentences(error)) from None
        kube = connect()
        kind = cluster_kind(kube.cluster_api_version())
        available = {facts.name: facts for facts in map(read_facts, kube.list_objects(kind, namespace))}
        facts = available.get(cluster)
        if facts is None:
            raise stop(
                FAILED,
                f"There is no cluster {cluster} in namespace {namespace}. Available clusters: {name_some(available)}",
            )
        obstacle = explain_obstacle(facts, find_claimant(facts))
        wish = Adoptable(namespace, cluster, facts.uid, kind.api_version, facts.owner or "", obstacle)
        try:
            return request_adopt_for_new(name, wish, actor=actor())
        except ValidationError as error:
            raise stop(FAILED, sentences(error)) from None
