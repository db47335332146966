"""`manage.py accept_cluster --yes`: record that the panel's state belongs to the configured cluster from now on."""

from argparse import ArgumentParser
from typing import Any

from projects.audit.log import record_bulk_action
from projects.models import DatabaseCluster, Project
from provisioning.decisions.cluster_identity import Identity
from provisioning.identity import accept, look
from provisioning.kube.client import connect
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import cluster_kind
from provisioning.management.console import FAILED, WRONG_USAGE, PanelCommand, command_error
from provisioning.management.dry_run import add_dry_run_argument
from provisioning.objects.readers import uid_of


class Command(PanelCommand):
    help = (
        "Record that the panel's state belongs to the cluster of KUBECONFIG from now on, for example after its objects "
        "were moved there. Passes then treat objects that it lacks as deleted. Without --yes, the command says what "
        "would happen and exits with code 2."
    )
    examples = ("accept_cluster", "accept_cluster --yes")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="record this cluster in place of the current one")
        add_dry_run_argument(parser)

    def handle(self, *, yes: bool, dry_run: bool, **options: Any) -> None:
        try:
            kube = connect()
            judgment, recorded, seen = look(kube)
            here, all_ = self._count_databases()
        except KubeError as error:
            raise command_error(FAILED, str(error)) from None
        if not any(seen.values()):
            raise command_error(FAILED, "The panel's account can't read the namespaces that identify a cluster.")
        if judgment.identity is Identity.OWN:
            self.stdout.write(f"The panel's state already belongs to the cluster at {kube.host}. Nothing was changed.")
            return
        self.say(f"Of {all_} databases that the panel has recorded, {here} are in the cluster at {kube.host}.")
        if here < all_:
            self.say("The others would be reported as deleted, and Retry would create new, empty ones.")
        if dry_run:
            return
        if not yes:
            raise command_error(WRONG_USAGE, "Nothing was changed. To record this cluster, add --yes.")
        accept(seen)
        uids = ", ".join(f"{namespace} {uid}" for namespace, uid in seen.items() if uid)
        former = ", ".join(f"{namespace} {uid}" for namespace, uid in recorded.items()) or "none"
        message = f"The state belongs to the cluster at {kube.host} ({uids}) from now on. Before: {former}."
        record_bulk_action(Project, "ClusterAccepted", "cluster", message)
        self.stdout.write(message)

    def _count_databases(self) -> tuple[int, int]:
        """Return how many of the recorded databases exist in the configured cluster, and how many are recorded."""
        live = DatabaseCluster.objects.filter(retired_at=None).exclude(object_uid="")
        recorded = dict(live.values_list("object_uid", "namespace"))
        if not recorded:
            return 0, 0
        kube = connect()
        kind = cluster_kind(kube.cluster_api_version())
        listed = [item for namespace in set(recorded.values()) for item in kube.list_objects(kind, namespace)]
        return len({uid_of(item) for item in listed} & recorded.keys()), len(recorded)
