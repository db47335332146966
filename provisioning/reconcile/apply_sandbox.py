"""The effects that deploy a sandbox with the credentials of its database, and what its objects are made of."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource, Level, Phase, Reason
from projects.models import Project, Sandbox
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import INGRESS
from provisioning.objects import manifests
from provisioning.objects.names import INSTANCE_LABEL, build_sandbox_name, project_id_of
from provisioning.objects.readers import labels_of, metadata_of, number, text, uid_of
from provisioning.reconcile.context import Scene
from provisioning.reconcile.drift import remember
from provisioning.reconcile.observe import default_connection, digest_of, project_environment, sandbox_environment
from provisioning.reconcile.sandbox_spec import build_spec


def apply_sandbox(scene: Scene, now: datetime) -> None:
    """Deploy the sandbox with the captured credentials."""
    connection = scene.live_database.connection
    if connection is None:
        raise ValueError("A sandbox is applied with captured credentials or not at all.")
    _apply_sandbox(scene, connection, CredentialsSource.CAPTURED, now)


def apply_sandbox_with_default(scene: Scene, now: datetime) -> None:
    """Deploy the sandbox with the owner's default database, marked as such."""
    connection = default_connection(scene.project)
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
    except RefusedError as error:
        # An answer about a Secret may quote it.
        raise RefusedError(error.code, error.reason, f"The API server refused the Secret of {sandbox.name}.") from None
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
    remember(scene, made.all, now)
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
    variables = project_environment(scene.project)
    environment = sandbox_environment(variables, connection)
    spec = build_spec(scene.project, sandbox)
    digest = digest_of(variables, connection, spec)
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
    for item in kube.list_objects(INGRESS, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"):
        name = text(metadata_of(item).get("name"))
        if name not in wanted and project_id_of(labels_of(item)) == str(scene.project.uid):
            kube.delete(INGRESS, sandbox.namespace, name, uid=uid_of(item))
            scene.project.applied.filter(kind=INGRESS.name, name=name).delete()


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
