"""Effects on a project's sandbox, and its manifests."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from projects.domain.connection import Connection
from projects.domain.states import CredentialsSource, Level, Phase, Reason
from projects.models import Sandbox
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import INGRESS
from provisioning.objects import manifests
from provisioning.objects.names import INSTANCE_LABEL, build_sandbox_name
from provisioning.objects.readers import metadata_of, number, text, uid_of
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import default_connection, digest_of, project_environment, sandbox_environment
from provisioning.reconcile.sandbox_spec import build_spec


def sandbox_connection(context: PassContext, source: CredentialsSource) -> Connection | None:
    """Return the connection of the project's database, or of the default database where the source says so.

    Raises UndecryptableValueError.
    """
    if source is CredentialsSource.DEFAULT:
        return default_connection(context.project)
    return context.database.connection if context.database else None


def ensure_sandbox(context: PassContext) -> Sandbox:
    """Return the sandbox row, added if there is none, with the names of the certificates that its Ingresses request."""
    project, sandbox = context.project, context.sandbox
    spec = build_spec(project, sandbox)
    if sandbox is not None:
        names = manifests.certificate_names(sandbox.name, spec)
        context.set(sandbox, certificates=sorted({*sandbox.certificates, *names}))
        return sandbox
    name = build_sandbox_name(project.kubernetes_name, context.name_suffix)
    sandbox = Sandbox(
        project=project,
        name=name,
        namespace=project.namespace,
        phase=Phase.WAITING,
        reason=Reason.WAITING_FOR_SANDBOX,
        message="The sandbox is not created yet.",
        storage=spec.storage,
        storage_class=spec.storage_class,
        certificates=sorted(manifests.certificate_names(name, spec)),
        requested_at=project.requested_at,
    )
    context.add_sandbox(sandbox)
    return sandbox


def apply_sandbox(context: PassContext, connection: Connection, source: CredentialsSource, now: datetime) -> None:
    """Create the sandbox with the credentials of `connection`, or restart it with them."""
    sandbox = ensure_sandbox(context)
    is_restart = sandbox.applied_at is not None
    # The sandbox's name, its certificates' and its credentials are stored before the first request.
    if not context.is_stored:
        context.store()
    made = build_sandbox(context, sandbox, connection)
    kube, snapshot = context.kube, context.snapshot
    answers = []
    try:
        answers.append(kube.apply(made.secret, "secrets"))
    except RefusedError as error:
        # The API server may quote the Secret in its message.
        raise error.without_quote(f"The API server refused the Secret of {sandbox.name}.") from None
    answers.append(kube.apply(made.service, "services"))
    answers += [kube.apply(ingress, "ingresses") for ingress in made.ingresses]
    if is_restart:
        _delete_other_ingresses(context, sandbox, {str(metadata_of(ingress)["name"]) for ingress in made.ingresses})
    snapshot.statefulset = kube.apply(made.statefulset, "statefulsets")
    answers.append(snapshot.statefulset)
    snapshot.is_statefulset_known, snapshot.sandbox_note = True, ""
    snapshot.forget_sandbox()
    context.set(
        sandbox,
        applied_at=now,
        ready_at=None,
        deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S),
        credentials=source,
        environment_digest=made.digest,
        wanted_generation=number(metadata_of(snapshot.statefulset).get("generation")),
    )
    context.remember_applied(made.all, now, answers)
    context.note(
        "SandboxApplied",
        f"{'Restarted' if is_restart else 'Applied'} the sandbox {sandbox.name} with {source.label.lower()} "
        f"{'' if source is CredentialsSource.DEFAULT else 'credentials'}".strip()
        + ".",
        resource=f"StatefulSet {sandbox.name}",
        level=Level.WARNING if source is CredentialsSource.DEFAULT else Level.INFO,
    )
    if is_restart:
        context.store()  # this pass compares the objects with what is stored


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


def build_sandbox(context: PassContext, sandbox: Sandbox, connection: Connection) -> SandboxManifests:
    """Return the sandbox's manifests. Raises UndecryptableValueError."""
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


def _delete_other_ingresses(context: PassContext, sandbox: Sandbox, kept: set[str]) -> None:
    """Delete the Ingresses of ports that the sandbox no longer has: those that the panel has applied."""
    kube = context.kube
    known = {
        applied.name: applied
        for applied in context.project.applied.filter(kind=INGRESS.name, namespace=sandbox.namespace)
        if applied.name not in kept
    }
    if not known:
        return
    for item in kube.list_objects(INGRESS, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"):
        applied = known.get(text(metadata_of(item).get("name")))
        if applied is not None and applied.object_uid in ("", uid_of(item)):
            kube.delete(INGRESS, sandbox.namespace, applied.name, uid=uid_of(item))
    context.project.applied.filter(pk__in=[applied.pk for applied in known.values()]).delete()
