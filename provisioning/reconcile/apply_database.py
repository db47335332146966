"""The effects of a pass: one function an action. Each is idempotent, and leaves what it did on the context, which is
stored under the lease before the next effect and at the end of the pass."""

from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import Level, Origin, Phase, Reason
from projects.models import DatabaseCluster
from provisioning.decisions.readiness import judge_cluster
from provisioning.decisions.types import Action, Verification
from provisioning.kube.kinds import cluster_kind
from provisioning.objects import manifests
from provisioning.objects.credentials import Missing
from provisioning.objects.endpoints import disallowed_endpoint_host
from provisioning.objects.names import (
    ORIGIN_LABEL,
    PROJECT_ID_LABEL,
    AdoptionNeededError,
    ExistingCluster,
    build_database_name,
    claim_labels,
    find_existing_cluster,
    project_id_of,
)
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, text, uid_of
from provisioning.reconcile.apply_sandbox import apply_sandbox, apply_sandbox_with_default
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.drift import mend_drift, remember
from provisioning.reconcile.observe import cluster_api, observe_connection
from provisioning.reconcile.rotate_password import rotate_password
from provisioning.reconcile.teardown import delete_objects, finish_cancellation, finish_deletion, release_clusters
from provisioning.reconcile.verify import verify_connection

_NAME_ATTEMPTS = 5


def existing_cluster(item: Object) -> ExistingCluster:
    metadata = metadata_of(item)
    spec = mapping(item.get("spec"))
    engine = text(spec.get("clusterDef")) or text(spec.get("clusterDefinitionRef"))
    return ExistingCluster(
        text(metadata.get("name")),
        labels_of(item),
        bool(metadata.get("deletionTimestamp")),
        engine in ("", "postgresql"),
    )


def ensure_database(context: PassContext) -> None:
    """Give the project its database row: of the cluster it has, else of one to be made, under a name stored before
    the first call. Raises KubeError, UndecidedClusterError."""
    found = find_database(context)
    if found is None:
        _add_database(context, Origin.CREATED, lambda: build_database_name(context.project.kubernetes_name))
        # The name was chosen just now: there is nothing of that name to look at.
        context.world.is_cluster_known = True
        return
    origin, name = found
    _add_database(context, origin, lambda: name)
    context.note("ClusterFound", f"The project has the database cluster {name} already; it is used.")


def find_database(context: PassContext) -> tuple[Origin, str] | None:
    """Return the origin and the name of the Cluster that the project has without knowing it; None if it has none.

    Whose a Cluster with the project's own label is, its label says; one that only its name makes the project's takes
    somebody who may adopt. Raises KubeError, UndecidedClusterError.
    """
    project, kube = context.project, context.world.kube
    kind = cluster_kind(kube.cluster_api_version())
    listed = kube.list_objects(kind, project.namespace, labels=f"{PROJECT_ID_LABEL}={project.uid}")
    listed += kube.list_objects(kind, project.namespace, labels=f"!{PROJECT_ID_LABEL}")
    clusters = [existing_cluster(item) for item in listed]
    taken = DatabaseCluster.objects.filter(
        namespace=project.namespace, name__in=[cluster.name for cluster in clusters], retired_at=None
    ).values_list("name", flat=True)
    found = find_existing_cluster(
        clusters,
        kubernetes_name=project.kubernetes_name,
        raw_name=project.name,
        uid=project.uid,
        taken=taken,
    )
    if found is None:
        return None
    is_labelled = project_id_of(found.labels) == str(project.uid)
    if not is_labelled and not project.adopts_by_name:
        raise AdoptionNeededError(found.name, project.namespace)
    is_made_by_us = is_labelled and found.labels.get(ORIGIN_LABEL) == "created"
    return Origin.CREATED if is_made_by_us else Origin.ADOPTED, found.name


def _add_database(context: PassContext, origin: Origin, choose_name: Callable[[], str]) -> None:
    """Insert the row; the constraints decide who wins a race. Raises IntegrityError if the name stays taken."""
    for attempt in range(_NAME_ATTEMPTS):
        try:
            with transaction.atomic():
                context.lease.write()
                name = choose_name()
                # Of a Cluster that was replaced; this very one was only said to be gone, and its drift is followed.
                kept = name if origin is Origin.CREATED else ""
                context.project.applied.filter(kind="Cluster").exclude(name=kept).delete()
                context.database = DatabaseCluster.objects.create(
                    project=context.project,
                    name=name,
                    namespace=context.project.namespace,
                    origin=origin,
                    phase=Phase.WAITING,
                    reason=Reason.REQUESTED,
                    message="Its Cluster was not asked for yet.",
                    requested_at=context.project.requested_at,
                    deadline=context.inherited_deadline,
                )
                return
        except IntegrityError:
            if attempt == _NAME_ATTEMPTS - 1:
                raise


def apply_cluster(context: PassContext, now: datetime) -> None:
    """Create the Cluster, or put our labels back on it. Its spec is never sent twice: the operator completes it."""
    database, world = context.live_database, context.world
    if world.cluster is not None:
        _label_cluster(context, "created")
        api_version = text(world.cluster.get("apiVersion"), 60)
    else:
        manifest = cluster_manifest(context)
        api_version = str(manifest["apiVersion"])
        # Stored before the request: the pass that finds a Cluster whose answer or worker was lost does not know what
        # was sent, and the settings may be others by then.
        remember(context, [manifest], now)
        context.store()
        world.cluster = world.kube.apply(manifest, "clusters", force=False)
    _record_cluster(context, api_version, "ClusterApplied", f"Applied the Cluster {database.name}.", now)


def cluster_manifest(context: PassContext) -> manifests.Manifest:
    """Return the Cluster that is made for the project, as the settings have it. Raises KubeError."""
    database = context.live_database
    spec = manifests.DatabaseSpec(
        service_version=settings.POSTGRES_VERSION,
        legacy_version=settings.POSTGRES_VERSION_LEGACY,
        cpu=settings.DATABASE_CPU,
        memory=settings.DATABASE_MEMORY,
        storage=settings.DATABASE_STORAGE,
        storage_class=settings.DATABASE_STORAGE_CLASS,
    )
    api_version = context.world.kube.cluster_api_version()
    return manifests.build_cluster(
        api_version, name=database.name, namespace=database.namespace, owner=context.owner, spec=spec
    )


def adopt_cluster(context: PassContext, now: datetime) -> None:
    """Put our labels on a Cluster that somebody else made; nothing else of it is changed."""
    database = context.live_database
    _label_cluster(context, "adopted")
    api_version = text((context.world.cluster or {}).get("apiVersion"), 60)
    _record_cluster(context, api_version, "ClusterAdopted", f"Adopted the Cluster {database.name}.", now)


def _label_cluster(context: PassContext, origin: str) -> None:
    database, world = context.live_database, context.world
    labels = {**claim_labels(context.project.kubernetes_name, context.project.uid), ORIGIN_LABEL: origin}
    world.cluster = world.kube.merge_labels(
        cluster_api(world, database),
        database.namespace,
        database.name,
        labels,
        uid=uid_of(world.cluster),
    )


def _record_cluster(context: PassContext, api_version: str, reason: str, message: str, now: datetime) -> None:
    database, world = context.live_database, context.world
    world.is_cluster_known = True
    seen = judge_cluster(world.cluster)
    context.set(
        database,
        applied_at=database.applied_at or now,
        api_version=api_version,
        object_uid=seen.uid,
        wanted_generation=seen.generation,
    )
    context.note(reason, message, resource=f"Cluster {database.name}")


def replace_database(context: PassContext, now: datetime) -> None:
    """Retire the row of a Cluster that vanished; the next step gives the project a new one."""
    database = context.live_database
    context.note(
        "ClusterVanished",
        f"The Cluster {database.name} is gone; a new one is made under another name.",
        resource=f"Cluster {database.name}",
        level=Level.WARNING,
    )
    with transaction.atomic():
        context.store()
        DatabaseCluster.objects.filter(pk=database.pk).update(retired_at=now, phase=Phase.DELETED)
    context.database, context.inherited_deadline = None, database.deadline
    context.world.forget_cluster()


def capture_credentials(context: PassContext, now: datetime) -> None:
    """Store, encrypted, what the Cluster's Secret says."""
    database = context.live_database
    found = observe_connection(context.world, database)
    if isinstance(found, Missing):
        return
    is_first = database.captured_at is None
    context.set(
        database,
        host=found.host,
        port=found.port,
        database=found.database,
        username=found.username,
        password=EncryptedText.of(found.password),
        captured_at=now,
        verified_at=None,
        verification_note="",
    )
    context.world.verification = None
    what = (
        f"Captured the credentials of {database.name} from its Secret."
        if is_first
        else f"The credentials of {database.name} changed in the cluster; captured the new ones."
    )
    ignored = disallowed_endpoint_host(context.world.service, settings.ENDPOINT_HOSTS)
    if ignored:
        what += f" Its Service's endpoint annotation names {ignored}, which ENDPOINT_HOSTS does not allow: ignored."
    context.note(
        "CredentialsCaptured",
        what,
        resource=f"Cluster {database.name}",
    )


def verify_captured(context: PassContext, now: datetime) -> None:
    """Connect with the captured credentials, and record what came of it."""
    database = context.live_database
    connection = database.connection
    if connection is None:
        return
    world = context.world
    before = database.verification_note
    world.verification, world.verification_note = verify_connection(connection)
    is_verified = world.verification is Verification.VERIFIED
    verified_at = timezone.now() if is_verified else None
    context.set(database, verified_at=verified_at, verification_note=world.verification_note)
    if before != world.verification_note:
        context.note(
            "ConnectionVerified" if is_verified else "ConnectionNotVerified",
            world.verification_note,
            resource=f"Cluster {database.name}",
            level=Level.INFO if is_verified else Level.WARNING,
        )


ACTIONS: dict[Action, Callable[[PassContext, datetime], None]] = {
    Action.APPLY_CLUSTER: apply_cluster,
    Action.ADOPT_CLUSTER: adopt_cluster,
    Action.REPLACE_DATABASE: replace_database,
    Action.CAPTURE_CREDENTIALS: capture_credentials,
    Action.VERIFY_CONNECTION: verify_captured,
    Action.ROTATE_PASSWORD: rotate_password,
    Action.APPLY_SANDBOX: apply_sandbox,
    Action.APPLY_SANDBOX_WITH_DEFAULT: apply_sandbox_with_default,
    Action.MEND_DRIFT: mend_drift,
    Action.DELETE_OBJECTS: delete_objects,
    Action.RELEASE_CLUSTER: release_clusters,
    Action.FINISH_DELETION: finish_deletion,
    Action.FINISH_CANCELLATION: finish_cancellation,
}
