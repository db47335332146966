"""Effects on a project's database: its row, its Cluster, its captured credentials."""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Level, Origin, Phase, Reason
from projects.models import DatabaseCluster
from provisioning.decisions.readiness import judge_cluster
from provisioning.decisions.types import ExistingDatabase
from provisioning.objects import manifests
from provisioning.objects.credentials import Missing
from provisioning.objects.diff import list_admitted
from provisioning.objects.endpoints import annotated_endpoint
from provisioning.objects.names import ORIGIN_LABEL, build_database_name, claim_labels
from provisioning.objects.readers import text, uid_of
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import cluster_api, observe_connection


def ensure_database(context: PassContext) -> None:
    """Add the database row: for the existing Cluster, else for a new one, whose name is stored before the Cluster is
    created."""
    project, existing = context.project, context.snapshot.existing
    chosen = existing or ExistingDatabase(
        build_database_name(project.kubernetes_name, context.name_suffix), Origin.CREATED
    )
    context.add_database(
        DatabaseCluster(
            project=project,
            name=chosen.name,
            namespace=project.namespace,
            origin=chosen.origin,
            object_uid=chosen.uid,
            phase=Phase.WAITING,
            reason=Reason.REQUESTED,
            message="The Cluster is not created yet.",
            requested_at=project.requested_at,
            deadline=context.inherited_deadline,
        )
    )
    if existing is not None:
        context.note("ClusterFound", f"Found the existing Cluster {existing.name}. The project uses it.")
    # The suffix of a new name is random: no Cluster has it.
    context.snapshot.is_cluster_known = existing is None


def apply_cluster(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Create the Cluster, or restore the panel's labels on it. Its spec is sent once, as KubeBlocks completes it."""
    snapshot = context.snapshot
    if snapshot.cluster is not None:
        _label_cluster(context, database)
        api_version = text(snapshot.cluster.get("apiVersion"), 60)
    else:
        manifest = build_cluster(context, database)
        api_version = str(manifest["apiVersion"])
        # Stored before the request: after a lost answer, the next pass does not know what was sent, and the settings
        # may have changed.
        context.remember_applied([manifest], now)
        context.store()
        snapshot.cluster = context.kube.apply(manifest, "clusters", force=False)
        if list_admitted(manifest, snapshot.cluster):
            context.remember_applied([manifest], now, [snapshot.cluster])
    _record_cluster(context, database, api_version, "ClusterApplied", f"Applied the Cluster {database.name}.", now)


def build_database_spec() -> manifests.DatabaseSpec:
    """Return the database that the settings describe."""
    return manifests.DatabaseSpec(
        service_version=settings.POSTGRES_VERSION,
        legacy_version=settings.POSTGRES_VERSION_LEGACY,
        cpu=settings.DATABASE_CPU,
        memory=settings.DATABASE_MEMORY,
        storage=settings.DATABASE_STORAGE,
        storage_class=settings.DATABASE_STORAGE_CLASS,
    )


def build_cluster(context: PassContext, database: DatabaseCluster) -> manifests.Manifest:
    """Return the manifest of a new Cluster, by the settings. Raises KubeError."""
    api_version = context.kube.cluster_api_version()
    return manifests.build_cluster(
        api_version, name=database.name, namespace=database.namespace, owner=context.owner, spec=build_database_spec()
    )


def adopt_cluster(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Put the panel's labels on a Cluster that it did not create. Nothing else of the Cluster is changed."""
    _label_cluster(context, database)
    api_version = text((context.snapshot.cluster or {}).get("apiVersion"), 60)
    _record_cluster(context, database, api_version, "ClusterAdopted", f"Adopted the Cluster {database.name}.", now)


def build_cluster_labels(context: PassContext, database: DatabaseCluster) -> dict[str, str]:
    """Return the labels that make an existing Cluster the project's."""
    return {
        **claim_labels(context.project.kubernetes_name, context.project.uid),
        ORIGIN_LABEL: Origin(database.origin).value,
    }


def _label_cluster(context: PassContext, database: DatabaseCluster) -> None:
    if not context.is_stored:
        context.store()
    snapshot = context.snapshot
    snapshot.cluster = context.kube.merge_labels(
        cluster_api(context, database),
        database.namespace,
        database.name,
        build_cluster_labels(context, database),
        uid=uid_of(snapshot.cluster),
    )


def _record_cluster(
    context: PassContext, database: DatabaseCluster, api_version: str, reason: str, message: str, now: datetime
) -> None:
    context.snapshot.is_cluster_known = True
    cluster = judge_cluster(context.snapshot.cluster)
    context.set(
        database,
        applied_at=database.applied_at or now,
        api_version=api_version,
        object_uid=cluster.uid,
        wanted_generation=cluster.generation,
    )
    context.note(reason, message, resource=f"Cluster {database.name}")


def replace_database(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Retire the row of a Cluster that is gone; the next step adds another."""
    context.note(
        "ClusterVanished",
        f"The Cluster {database.name} is gone. Creating another one under a new name.",
        resource=f"Cluster {database.name}",
        level=Level.WARNING,
    )
    with transaction.atomic():
        context.store()
        DatabaseCluster.objects.filter(pk=database.pk).update(retired_at=now, phase=Phase.DELETED)
    context.database, context.inherited_deadline = None, database.deadline
    context.snapshot.forget_cluster()


def capture_credentials(context: PassContext, database: DatabaseCluster, now: datetime) -> None:
    """Store the credentials of the Cluster's Secrets, encrypted."""
    found = observe_connection(context, database)
    if isinstance(found, Missing):
        return
    is_first = database.captured_at is None
    is_same_password = not is_first and bool(database.password) and database.password.reveal() == found.password
    what = (
        f"Captured the credentials of {database.name} from its Secret."
        if is_first
        else f"The credentials of {database.name} changed in its Secret. Captured the new ones."
    )
    ignored = annotated_endpoint(context.snapshot.service, settings.ENDPOINT_HOSTS).refused_host
    if ignored:
        what += f" Its Service's endpoint annotation names {ignored}, which ENDPOINT_HOSTS does not allow: ignored."
    context.set(
        database,
        host=found.host,
        port=found.port,
        database=found.database,
        username=found.username,
        password=EncryptedText.of(found.password),
        captured_at=now,
        secret_uid=context.snapshot.secret_uid,
        secret_replaced_at=None,
        replacement_choice="",
        verified_at=None,
        proved_at=database.proved_at if is_same_password else None,
        verification_note="",
    )
    context.snapshot.credentials = None
    context.note(
        "CredentialsCaptured",
        what,
        resource=f"Cluster {database.name}",
    )
