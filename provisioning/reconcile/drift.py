"""Drift of what the panel applies: remembered when it is sent, looked for when it runs, and taken back or reported."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings

from projects.domain.states import CredentialsSource, DriftPolicy, Level, Phase, Reason
from projects.models import DatabaseCluster, LastAppliedManifest, Project, Sandbox
from provisioning.decisions.types import DriftResponse
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import INGRESS, SECRET, SERVICE, STATEFULSET, cluster_kind
from provisioning.objects import manifests
from provisioning.objects.diff import Difference, conceal, drift, only_labels_mendable, refused, summarise, without_echo
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, text, uid_of
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import World, project_environment, sandbox_environment

MENDED = "DriftMended"
# Whoever changes it back so often will do so again: from then on it is only reported.
_MOST_MENDED = 3
_CONTESTED_FOR = timedelta(hours=1)
_PLURALS = {kind.name: kind.plural for kind in (STATEFULSET, SERVICE, SECRET, INGRESS, cluster_kind(""))}


def remember(context: PassContext, sent: Iterable[Object], now: datetime) -> None:
    """Have stored, with what is stored next, what is applied; digests in place of a Secret's values."""
    context.applied += [
        LastAppliedManifest(
            project=context.project,
            kind=text(manifest.get("kind")),
            namespace=text(metadata_of(manifest).get("namespace")),
            name=text(metadata_of(manifest).get("name")),
            manifest=conceal(manifest, settings.SECRET_KEY),
            applied_at=now,
        )
        for manifest in sent
    ]


def choose_drift_response(project: Project, found: Sequence[Difference], now: datetime) -> DriftResponse:
    """Return what is to be done about drift: the project's own policy, else the panel's, unless it is contested."""
    policy = DriftPolicy(project.drift_policy or settings.DRIFT_POLICY)
    if policy is DriftPolicy.REPORT or not found:
        return DriftResponse(mends=policy is DriftPolicy.MEND)
    lately = project.events.filter(reason=MENDED, by_panel=True, at__gte=now - _CONTESTED_FOR).count()
    return DriftResponse(mends=lately < _MOST_MENDED, is_contested=lately >= _MOST_MENDED)


def is_checkup(project: Project) -> bool:
    """Whether the pass looks at a project that has come to rest, or had drifted: then everything is compared, not only
    what the pass reads anyway."""
    return bool(project.drift) or (
        project.phase == Phase.RUNNING
        and project.reason in (Reason.READY, Reason.DRIFTED)
        and project.observed_generation >= project.wanted_generation
    )


def observe_drift(world: World, project: Project, database: DatabaseCluster, sandbox: Sandbox | None) -> None:
    """Put into the world what differs from what was applied; once a pass. Raises KubeError.

    Nobody compares while a project is being provisioned: what was applied a moment ago is compared when it has come to
    rest. The Cluster and the StatefulSet are read by every pass; the rest costs a checkup two requests, or three with
    Ingresses. What looks like drift is believed when a dry run of applying it again would change it back.
    """
    if world.drift is not None or sandbox is None or sandbox.credentials != CredentialsSource.CAPTURED:
        return
    if project.phase in Phase.in_progress() and not project.drift:
        return
    names = {database.name, sandbox.name, manifests.environment_secret_name(sandbox.name)}
    found: list[Difference] = []
    is_complete = is_checkup(project)
    for applied in project.applied.order_by("kind", "name"):
        # Ingresses have names of their own, by port.
        if applied.name not in names and applied.kind != INGRESS.name:
            continue
        is_known, live = _look(world, applied, sandbox, is_complete=is_complete)
        if is_known:
            found += _confirm(world, project, applied.manifest, live, drift(applied.manifest, live))
    world.drift, world.is_drift_complete = tuple(found), is_complete


def _look(
    world: World, applied: LastAppliedManifest, sandbox: Sandbox, *, is_complete: bool
) -> tuple[bool, Object | None]:
    """Return the object as it is in the cluster, and whether that is known to this pass."""
    match applied.kind:
        case "Cluster":
            return world.cluster is not None, world.cluster
        case "StatefulSet":
            return world.statefulset is not None, world.statefulset
        case "Service" if is_complete:
            if not world.is_sandbox_service_known:
                world.sandbox_service = world.kube.get_or_none(SERVICE, sandbox.namespace, sandbox.name)
                world.is_sandbox_service_known = True
            return True, world.sandbox_service
        case "Secret" | "Ingress" if is_complete:
            kind = SECRET if applied.kind == SECRET.name else INGRESS
            if kind not in world.labelled:
                world.labelled[kind] = {
                    text(metadata_of(item).get("name")): conceal({**item, "kind": kind.name}, settings.SECRET_KEY)
                    for item in world.kube.list_objects(
                        kind, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"
                    )
                }
            return True, world.labelled[kind].get(applied.name)
        case _:
            return False, None


def _confirm(
    world: World, project: Project, manifest: Object, live: Object | None, found: list[Difference]
) -> list[Difference]:
    """Return those of the differences that are real, with what stands in the way of taking them back."""
    if not found or live is None:
        return found
    if manifest.get("kind") == "Cluster":
        return only_labels_mendable(found)
    try:
        answer = _send_again(world, project, manifest, live, is_dry_run=True)
    except RefusedError as error:
        said = f"the API server refuses it ({error.code})." if manifest.get("kind") == "Secret" else str(error)
        return refused(found, said)
    dry_run = conceal({**answer, "kind": manifest.get("kind")}, settings.SECRET_KEY)
    return without_echo(found, drift(manifest, dry_run))


def _send_again(
    world: World, project: Project, manifest: Object, live: Object | None, *, is_dry_run: bool = False
) -> Object:
    """Make an object as it was applied, and return it. Raises KubeError."""
    if manifest.get("kind") == SERVICE.name and live is not None:
        # A list of ports is keyed by number: applied again, a changed number would stand beside the right one.
        metadata = metadata_of(manifest)
        changes = {"metadata": {"uid": uid_of(live), "labels": labels_of(manifest)}, "spec": manifest["spec"]}
        where = text(metadata.get("namespace")), text(metadata.get("name"))
        return world.kube.merge(SERVICE, *where, changes, is_dry_run=is_dry_run)
    return world.kube.apply(_sendable(project, manifest), _PLURALS[str(manifest["kind"])], is_dry_run=is_dry_run)


def _sendable(project: Project, manifest: Object) -> Object:
    """Return a remembered manifest as it can be sent: a Secret with the values of the environment as it is now.

    Raises UndecryptableValueError, and ValueError where the project has no credentials.
    """
    if manifest.get("kind") != SECRET.name:
        return manifest
    database, sandbox = project.database, project.sandbox
    connection = database.connection if database else None
    if sandbox is None or connection is None:
        raise ValueError("An environment is made of captured credentials.")
    environment = sandbox_environment(project_environment(project), connection)
    owner = manifests.Owner(project.kubernetes_name, project.uid)
    return manifests.build_environment_secret(sandbox.name, sandbox.namespace, owner, environment)


def mend_drift(context: PassContext, now: datetime) -> None:
    """Apply again what differs, as it was applied; of a Cluster only its labels."""
    world, project = context.world, context.project
    mendable = [item for item in world.drift or () if item.is_mendable]
    remaining = tuple(item for item in world.drift or () if not item.is_mendable)
    for applied in project.applied.all():
        if not any((item.kind, item.name) == (applied.kind, applied.name) for item in mendable):
            continue
        if applied.kind == "Cluster":
            _set_labels(world, applied)
            continue
        try:
            answer = _send_again(world, project, applied.manifest, world.sandbox_service)
        except RefusedError as error:
            if applied.kind != SECRET.name:
                raise
            # An answer about a Secret may quote it.
            raise RefusedError(error.code, error.reason, f"The API server refused the Secret {applied.name}.") from None
        if applied.kind == STATEFULSET.name:
            world.statefulset = answer
    world.forget_sandbox()
    world.drift = remaining
    if context.sandbox is not None:
        # Its pod may start anew, and is given time for that.
        context.set(context.sandbox, deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S))
    context.note(MENDED, f"Changed outside the panel, and taken back: {summarise(mendable)}.", level=Level.WARNING)
    context.store()


def _set_labels(world: World, applied: LastAppliedManifest) -> None:
    labels = {str(name): str(value) for name, value in labels_of(applied.manifest).items()}
    kind = cluster_kind(text(mapping(world.cluster).get("apiVersion")))
    world.cluster = world.kube.merge_labels(kind, applied.namespace, applied.name, labels, uid=uid_of(world.cluster))
