"""The effects of a pass: one function an action. Each is idempotent, and leaves what it did on the scene, which is
stored under the lease before the next effect and at the end of the pass."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from projects.connection import Connection
from projects.fields import EncryptedText
from projects.models import DatabaseCluster, Project, Sandbox
from projects.states import CredentialsSource, Level, Origin, Phase, Reason
from provisioning import drifting, manifests, observing, removing
from provisioning import kube as k
from provisioning.credentials import Missing
from provisioning.names import (
    INSTANCE_LABEL,
    ORIGIN_LABEL,
    PROJECT_ID_LABEL,
    AdoptionNeededError,
    ExistingCluster,
    build_database_name,
    build_sandbox_name,
    claim_labels,
    find_existing_cluster,
    project_id_of,
)
from provisioning.password_rotation import rotate_password
from provisioning.readiness import Object, judge_cluster, labels_of, mapping, metadata_of, number, text, uid_of
from provisioning.sandboxes import build_spec
from provisioning.scene import Scene
from provisioning.terms import Action, Verification
from provisioning.verifying import verify_connection

logger = logging.getLogger(__name__)
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


def ensure_database(scene: Scene) -> None:
    """Give the project its database row: of the cluster it has, else of one to be made, under a name stored before
    the first call. Raises KubeError, UndecidedClusterError."""
    found = find_database(scene)
    if found is None:
        _add_database(scene, Origin.CREATED, lambda: build_database_name(scene.project.kubernetes_name))
        # The name was chosen just now: there is nothing of that name to look at.
        scene.world.is_cluster_known = True
        return
    origin, name = found
    _add_database(scene, origin, lambda: name)
    scene.note("ClusterFound", f"The project has the database cluster {name} already; it is used.")


def find_database(scene: Scene) -> tuple[Origin, str] | None:
    """Return the origin and the name of the Cluster that the project has without knowing it; None if it has none.

    Whose a Cluster with the project's own label is, its label says; one that only its name makes the project's takes
    somebody who may adopt. Raises KubeError, UndecidedClusterError.
    """
    project, kube = scene.project, scene.world.kube
    kind = k.cluster_kind(kube.cluster_api_version())
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


def _add_database(scene: Scene, origin: Origin, choose_name: Callable[[], str]) -> None:
    """Insert the row; the constraints decide who wins a race. Raises IntegrityError if the name stays taken."""
    for attempt in range(_NAME_ATTEMPTS):
        try:
            with transaction.atomic():
                scene.lease.write()
                name = choose_name()
                # Of a Cluster that was replaced; this very one was only said to be gone, and its drift is followed.
                kept = name if origin is Origin.CREATED else ""
                scene.project.applied.filter(kind="Cluster").exclude(name=kept).delete()
                scene.database = DatabaseCluster.objects.create(
                    project=scene.project,
                    name=name,
                    namespace=scene.project.namespace,
                    origin=origin,
                    phase=Phase.WAITING,
                    reason=Reason.REQUESTED,
                    message="Its Cluster was not asked for yet.",
                    requested_at=scene.project.requested_at,
                    deadline=scene.inherited_deadline,
                )
                return
        except IntegrityError:
            if attempt == _NAME_ATTEMPTS - 1:
                raise


def _live_database(scene: Scene) -> DatabaseCluster:
    if scene.database is None:
        raise ValueError("The project has no database row.")
    return scene.database


def apply_cluster(scene: Scene, now: datetime) -> None:
    """Create the Cluster, or put our labels back on it. Its spec is never sent twice: the operator completes it."""
    database, world = _live_database(scene), scene.world
    if world.cluster is not None:
        _label_cluster(scene, "created")
        api_version = text(world.cluster.get("apiVersion"), 60)
    else:
        manifest = cluster_manifest(scene)
        api_version = str(manifest["apiVersion"])
        # Stored before the request: the pass that finds a Cluster whose answer or worker was lost does not know what
        # was sent, and the settings may be others by then.
        drifting.remember(scene, [manifest], now)
        scene.store()
        world.cluster = world.kube.apply(manifest, "clusters", force=False)
    _record_cluster(scene, api_version, "ClusterApplied", f"Applied the Cluster {database.name}.", now)


def cluster_manifest(scene: Scene) -> manifests.Manifest:
    """Return the Cluster that is made for the project, as the settings have it. Raises KubeError."""
    database = _live_database(scene)
    spec = manifests.DatabaseSpec(
        service_version=settings.POSTGRES_VERSION,
        legacy_version=settings.POSTGRES_VERSION_LEGACY,
        cpu=settings.DATABASE_CPU,
        memory=settings.DATABASE_MEMORY,
        storage=settings.DATABASE_STORAGE,
        storage_class=settings.DATABASE_STORAGE_CLASS,
    )
    api_version = scene.world.kube.cluster_api_version()
    return manifests.build_cluster(
        api_version, name=database.name, namespace=database.namespace, owner=scene.owner, spec=spec
    )


def adopt_cluster(scene: Scene, now: datetime) -> None:
    """Put our labels on a Cluster that somebody else made; nothing else of it is changed."""
    database = _live_database(scene)
    _label_cluster(scene, "adopted")
    api_version = text((scene.world.cluster or {}).get("apiVersion"), 60)
    _record_cluster(scene, api_version, "ClusterAdopted", f"Adopted the Cluster {database.name}.", now)


def _label_cluster(scene: Scene, origin: str) -> None:
    database, world = _live_database(scene), scene.world
    labels = {**claim_labels(scene.project.kubernetes_name, scene.project.uid), ORIGIN_LABEL: origin}
    world.cluster = world.kube.merge_labels(
        observing.cluster_api(world, database),
        database.namespace,
        database.name,
        labels,
        uid=uid_of(world.cluster),
    )


def _record_cluster(scene: Scene, api_version: str, reason: str, message: str, now: datetime) -> None:
    database, world = _live_database(scene), scene.world
    world.is_cluster_known = True
    seen = judge_cluster(world.cluster)
    scene.set(
        database,
        applied_at=database.applied_at or now,
        api_version=api_version,
        object_uid=seen.uid,
        wanted_generation=seen.generation,
    )
    scene.note(reason, message, resource=f"Cluster {database.name}")


def replace_database(scene: Scene, now: datetime) -> None:
    """Retire the row of a Cluster that vanished; the next step gives the project a new one."""
    database = _live_database(scene)
    scene.note(
        "ClusterVanished",
        f"The Cluster {database.name} is gone; a new one is made under another name.",
        resource=f"Cluster {database.name}",
        level=Level.WARNING,
    )
    with transaction.atomic():
        scene.store()
        DatabaseCluster.objects.filter(pk=database.pk).update(retired_at=now, phase=Phase.DELETED)
    scene.database, scene.inherited_deadline = None, database.deadline
    scene.world.forget_cluster()


def capture_credentials(scene: Scene, now: datetime) -> None:
    """Store, encrypted, what the Cluster's Secret says."""
    database = _live_database(scene)
    found = observing.observe_connection(scene.world, database)
    if isinstance(found, Missing):
        return
    is_first = database.captured_at is None
    scene.set(
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
    scene.world.verification = None
    scene.note(
        "CredentialsCaptured",
        f"Captured the credentials of {database.name} from its Secret."
        if is_first
        else f"The credentials of {database.name} changed in the cluster; captured the new ones.",
        resource=f"Cluster {database.name}",
    )


def verify_captured(scene: Scene, now: datetime) -> None:
    """Connect with the captured credentials, and record what came of it."""
    database = _live_database(scene)
    connection = database.connection
    if connection is None:
        return
    world = scene.world
    before = database.verification_note
    world.verification, world.verification_note = verify_connection(connection)
    is_verified = world.verification is Verification.VERIFIED
    verified_at = timezone.now() if is_verified else None
    scene.set(database, verified_at=verified_at, verification_note=world.verification_note)
    if before != world.verification_note:
        scene.note(
            "ConnectionVerified" if is_verified else "ConnectionNotVerified",
            world.verification_note,
            resource=f"Cluster {database.name}",
            level=Level.INFO if is_verified else Level.WARNING,
        )


def apply_sandbox(scene: Scene, now: datetime) -> None:
    """Deploy the sandbox with the captured credentials."""
    connection = _live_database(scene).connection
    if connection is None:
        raise ValueError("A sandbox is applied with captured credentials or not at all.")
    _apply_sandbox(scene, connection, CredentialsSource.CAPTURED, now)


def apply_sandbox_with_default(scene: Scene, now: datetime) -> None:
    """Deploy the sandbox with the owner's default database, marked as such."""
    connection = observing.default_connection(scene.project)
    if connection is None:
        raise ValueError("The project may not start with a default database.")
    _apply_sandbox(scene, connection, CredentialsSource.DEFAULT, now)


def _apply_sandbox(scene: Scene, connection: Connection, source: CredentialsSource, now: datetime) -> None:
    if scene.sandbox is None:
        sandbox = new_sandbox(scene.project)
        scene.added.append(sandbox)
    else:
        sandbox = scene.sandbox
        names = manifests.certificate_names(sandbox.name, build_spec(scene.project, sandbox))
        scene.set(sandbox, certificates=sorted({*sandbox.certificates, *names}))
    # Its name, its certificates' and the credentials that it gets are stored before the first call.
    if not scene.is_stored:
        scene.store()
    scene.sandbox = sandbox
    is_rolled = sandbox.applied_at is not None
    made = sandbox_manifests(scene, sandbox, connection)
    kube, digest = scene.world.kube, made.digest
    try:
        kube.apply(made.secret, "secrets")
    except k.RefusedError as error:
        # An answer about a Secret may quote it.
        raise k.RefusedError(
            error.code, error.reason, f"The API server refused the Secret of {sandbox.name}."
        ) from None
    kube.apply(made.service, "services")
    for ingress in made.ingresses:
        kube.apply(ingress, "ingresses")
    if is_rolled:
        _remove_other_ingresses(scene, sandbox, {str(metadata_of(ingress)["name"]) for ingress in made.ingresses})
    scene.world.statefulset = kube.apply(made.statefulset, "statefulsets")
    scene.world.is_statefulset_known, scene.world.sandbox_note = True, ""
    scene.world.forget_sandbox()
    scene.set(
        sandbox,
        applied_at=now,
        ready_at=None,
        deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S),
        credentials=source,
        environment_digest=digest,
        wanted_generation=number(metadata_of(scene.world.statefulset).get("generation")),
    )
    drifting.remember(scene, made.all, now)
    scene.note(
        "SandboxApplied",
        f"{'Restarted' if is_rolled else 'Applied'} the sandbox {sandbox.name} with {source.label.lower()} "
        f"{'' if source is CredentialsSource.DEFAULT else 'credentials'}".strip()
        + ".",
        resource=f"StatefulSet {sandbox.name}",
        level=Level.WARNING if source is CredentialsSource.DEFAULT else Level.INFO,
    )
    if is_rolled:
        scene.store()  # drift is measured against it in this very pass


@dataclass(frozen=True, slots=True)
class SandboxManifests:
    """The objects of a sandbox, in the order in which they are applied. The Secret holds passwords: never show it."""

    secret: manifests.Manifest = field(repr=False)
    service: manifests.Manifest
    ingresses: list[manifests.Manifest]
    statefulset: manifests.Manifest
    digest: str

    @property
    def all(self) -> list[manifests.Manifest]:
        return [self.secret, self.service, *self.ingresses, self.statefulset]


def sandbox_manifests(scene: Scene, sandbox: Sandbox, connection: Connection) -> SandboxManifests:
    """Return what the sandbox is made of. Raises UndecryptableValueError."""
    variables = observing.project_environment(scene.project)
    environment = {**variables, **connection.environment}
    spec = build_spec(scene.project, sandbox)
    digest = observing.digest_of(variables, connection, spec)
    where = (sandbox.name, sandbox.namespace, scene.owner)
    return SandboxManifests(
        secret=manifests.build_environment_secret(*where, environment),
        service=manifests.build_service(*where, spec),
        ingresses=manifests.build_ingresses(*where, spec),
        statefulset=manifests.build_statefulset(*where, spec, variables=list(environment), digest=digest),
        digest=digest,
    )


def _remove_other_ingresses(scene: Scene, sandbox: Sandbox, wanted: set[str]) -> None:
    """Remove the Ingresses of ports that the sandbox no longer has."""
    kube = scene.world.kube
    for item in kube.list_objects(k.INGRESS, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"):
        name = text(metadata_of(item).get("name"))
        if name not in wanted and project_id_of(labels_of(item)) == str(scene.project.uid):
            kube.delete(k.INGRESS, sandbox.namespace, name, uid=uid_of(item))
            scene.project.applied.filter(kind=k.INGRESS.name, name=name).delete()


def new_sandbox(project: Project) -> Sandbox:
    """Return an unsaved row of a sandbox, with the name that its objects will have."""
    spec, name = build_spec(project), build_sandbox_name(project.kubernetes_name)
    return Sandbox(
        project=project,
        name=name,
        namespace=project.namespace,
        phase=Phase.WAITING,
        reason=Reason.WAITING_FOR_SANDBOX,
        message="It was not applied yet.",
        storage=spec.storage,
        storage_class=spec.storage_class,
        certificates=sorted(manifests.certificate_names(name, spec)),
        requested_at=project.requested_at,
    )


ACTIONS: dict[Action, Callable[[Scene, datetime], None]] = {
    Action.APPLY_CLUSTER: apply_cluster,
    Action.ADOPT_CLUSTER: adopt_cluster,
    Action.REPLACE_DATABASE: replace_database,
    Action.CAPTURE_CREDENTIALS: capture_credentials,
    Action.VERIFY_CONNECTION: verify_captured,
    Action.ROTATE_PASSWORD: rotate_password,
    Action.APPLY_SANDBOX: apply_sandbox,
    Action.APPLY_SANDBOX_WITH_DEFAULT: apply_sandbox_with_default,
    Action.MEND_DRIFT: drifting.mend_drift,
    Action.DELETE_OBJECTS: removing.delete_objects,
    Action.RELEASE_CLUSTER: removing.release_clusters,
    Action.FINISH_DELETION: removing.finish_deletion,
    Action.FINISH_CANCELLATION: removing.finish_cancellation,
}
