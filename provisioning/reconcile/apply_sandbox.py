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
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.drift import remember
from provisioning.reconcile.observe import default_connection, digest_of, project_environment, sandbox_environment
from provisioning.reconcile.sandbox_spec import build_spec


def apply_sandbox(context: PassContext, now: datetime) -> None:
    """Deploy the sandbox with the captured credentials."""
    connection = context.live_database.connection
    if connection is None:
        raise ValueError("A sandbox is applied with captured credentials or not at all.")
    _apply_sandbox(context, connection, CredentialsSource.CAPTURED, now)


def apply_sandbox_with_default(context: PassContext, now: datetime) -> None:
    """Deploy the sandbox with the owner's default database, marked as such."""
    connection = default_connection(context.project)
    if connection is None:
        raise ValueError("The project may not start with a default database.")
    _apply_sandbox(context, connection, CredentialsSource.DEFAULT, now)


def _apply_sandbox(context: PassContext, connection: Connection, source: CredentialsSource, now: datetime) -> None:
    if context.sandbox is None:
        sandbox = new_sandbox(context.project)
        context.added.append(sandbox)
    else:
        sandbox = context.sandbox
        names = manifests.certificate_names(sandbox.name, build_spec(context.project, sandbox))
        context.set(sandbox, certificates=sorted({*sandbox.certificates, *names}))
    # Its name, its certificates' and the credentials that it gets are stored before the first call.
    if not context.is_stored:
        context.store()
    context.sandbox = sandbox
    is_rolled = sandbox.applied_at is not None
    made = sandbox_manifests(context, sandbox, connection)
    kube, digest = context.world.kube, made.digest
    try:
        kube.apply(made.secret, "secrets")
    except RefusedError as error:
        # An answer about a Secret may quote it.
        raise RefusedError(error.code, error.reason, f"The API server refused the Secret of {sandbox.name}.") from None
    kube.apply(made.service, "services")
    for ingress in made.ingresses:
        kube.apply(ingress, "ingresses")
    if is_rolled:
        _remove_other_ingresses(context, sandbox, {str(metadata_of(ingress)["name"]) for ingress in made.ingresses})
    context.world.statefulset = kube.apply(made.statefulset, "statefulsets")
    context.world.is_statefulset_known, context.world.sandbox_note = True, ""
    context.world.forget_sandbox()
    context.set(
        sandbox,
        applied_at=now,
        ready_at=None,
        deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S),
        credentials=source,
        environment_digest=digest,
        wanted_generation=number(metadata_of(context.world.statefulset).get("generation")),
    )
    remember(context, made.all, now)
    context.note(
        "SandboxApplied",
        f"{'Restarted' if is_rolled else 'Applied'} the sandbox {sandbox.name} with {source.label.lower()} "
        f"{'' if source is CredentialsSource.DEFAULT else 'credentials'}".strip()
        + ".",
        resource=f"StatefulSet {sandbox.name}",
        level=Level.WARNING if source is CredentialsSource.DEFAULT else Level.INFO,
    )
    if is_rolled:
        context.store()  # drift is measured against it in this very pass


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


def sandbox_manifests(context: PassContext, sandbox: Sandbox, connection: Connection) -> SandboxManifests:
    """Return what the sandbox is made of. Raises UndecryptableValueError."""
    variables = project_environment(context.project)
    environment = sandbox_environment(variables, connection)
    spec = build_spec(context.project, sandbox)
    digest = digest_of(variables, connection, spec)
    where = (sandbox.name, sandbox.namespace, context.owner)
    return SandboxManifests(
        secret=manifests.build_environment_secret(*where, environment),
        service=manifests.build_service(*where, spec),
        ingresses=manifests.build_ingresses(*where, spec),
        statefulset=manifests.build_statefulset(*where, spec, variables=list(environment), digest=digest),
        digest=digest,
    )


def _remove_other_ingresses(context: PassContext, sandbox: Sandbox, wanted: set[str]) -> None:
    """Remove the Ingresses of ports that the sandbox no longer has."""
    kube = context.world.kube
    for item in kube.list_objects(INGRESS, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"):
        name = text(metadata_of(item).get("name"))
        if name not in wanted and project_id_of(labels_of(item)) == str(context.project.uid):
            kube.delete(INGRESS, sandbox.namespace, name, uid=uid_of(item))
            context.project.applied.filter(kind=INGRESS.name, name=name).delete()


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
