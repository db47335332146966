"""Drift: what differs in the cluster from what the panel applied, and reverting it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from projects.domain.connection import Connection
from projects.domain.namespaces import explain_forbidden
from projects.domain.states import CredentialsSource, DriftPolicy, Level, Phase, Reason
from projects.models import DatabaseCluster, LastAppliedManifest, Project, Sandbox
from provisioning.decisions.types import DriftResponse
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import INGRESS, SECRET, SERVICE, STATEFULSET, cluster_kind, kind_of
from provisioning.objects import manifests
from provisioning.objects.diff import (
    Difference,
    conceal,
    drop_admitted,
    find_drift,
    keep_revertible,
    mark_refused,
    mark_unrevertible,
    summarize,
)
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, text, uid_of
from provisioning.objects.refusals import Cause
from provisioning.reconcile.context import PassContext
from provisioning.reconcile.observe import project_environment, sandbox_environment

REVERTED = "DriftMended"
# Drift that was reverted this many times lately is contested: it would come back again.
_MOST_REVERTED = 3
# A sandbox is usually ready by then.
_PATIENCE = timedelta(seconds=8)
_CONTESTED_FOR = timedelta(hours=1)


def choose_drift_response(project: Project, found: Sequence[Difference], now: datetime) -> DriftResponse:
    """Return how to respond to drift: by the project's policy, else by the panel's, unless the drift is contested."""
    policy = DriftPolicy(project.drift_policy or settings.DRIFT_POLICY)
    if explain_forbidden(project.namespace):
        return DriftResponse(reverts=False)
    if policy is DriftPolicy.REPORT or not found:
        return DriftResponse(reverts=policy is DriftPolicy.MEND)
    lately = project.events.filter(reason=REVERTED, by_panel=True, at__gte=now - _CONTESTED_FOR).count()
    return DriftResponse(reverts=lately < _MOST_REVERTED, is_contested=lately >= _MOST_REVERTED)


def is_checkup(project: Project) -> bool:
    """Whether the pass compares every object, not only those that it reads anyway: the project is settled, or had
    drifted."""
    return bool(project.drift) or (
        project.phase == Phase.RUNNING
        and project.reason in (Reason.READY, Reason.DRIFTED)
        and project.observed_generation >= project.wanted_generation
    )


def observe_drift(context: PassContext, database: DatabaseCluster, now: datetime) -> tuple[Difference, ...]:
    """Return what differs from what was applied; compared once a pass. Raises KubeError.

    Nothing is compared while a project is being provisioned, as what was applied a moment ago is compared when the
    project is settled; a sandbox that is late may be so because of a change. Every pass reads the Cluster and the
    StatefulSet; the rest costs a checkup two requests, or three with Ingresses. What admission made of a manifest is
    no difference. Another one counts if a dry run of applying the manifest again would revert it, or if the API server
    can't tell.
    """
    project, sandbox, snapshot = context.project, context.sandbox, context.snapshot
    if snapshot.drift is not None:
        return snapshot.drift
    connection = database.connection
    if sandbox is None or connection is None or sandbox.credentials != CredentialsSource.CAPTURED:
        return ()
    is_late = sandbox.applied_at is not None and now - sandbox.applied_at > _PATIENCE
    if project.phase in Phase.in_progress() and not project.drift and not is_late:
        return ()
    names = {database.name, sandbox.name, manifests.environment_secret_name(sandbox.name)}
    found: list[Difference] = []
    is_complete = is_checkup(project)
    for applied in project.applied.order_by("kind", "name"):
        # The names of Ingresses end in their port's.
        if applied.name not in names and applied.kind != INGRESS.name:
            continue
        is_known, live = _observe_applied(context, applied, sandbox, is_complete=is_complete)
        differences = drop_admitted(find_drift(applied.manifest, live), applied.admitted) if is_known else []
        if differences and _is_another(applied, live):
            said = "another object has taken its name, and the panel changes only what it created"
            differences = mark_refused(differences, said)
        elif differences and live is not None:
            differences = _confirm(context, sandbox, connection, applied.manifest, live, differences)
        found += differences
    snapshot.drift, snapshot.is_drift_complete = tuple(found), is_complete
    return snapshot.drift


def _is_another(applied: LastAppliedManifest, live: Object | None) -> bool:
    """Whether an object is not the one that was applied under its name."""
    return live is not None and applied.object_uid not in ("", uid_of(live))


def _observe_applied(
    context: PassContext, applied: LastAppliedManifest, sandbox: Sandbox, *, is_complete: bool
) -> tuple[bool, Object | None]:
    """Return whether this pass knows the object, and the object as it is in the cluster."""
    snapshot = context.snapshot
    match applied.kind:
        case "Cluster":
            return snapshot.cluster is not None, snapshot.cluster
        case "StatefulSet":
            return snapshot.statefulset is not None, snapshot.statefulset
        case "Service" if is_complete:
            if not snapshot.is_sandbox_service_known:
                snapshot.sandbox_service = context.kube.get_or_none(SERVICE, sandbox.namespace, sandbox.name)
                snapshot.is_sandbox_service_known = True
            return True, snapshot.sandbox_service
        case "Secret" | "Ingress" if is_complete:
            kind = SECRET if applied.kind == SECRET.name else INGRESS
            if kind not in snapshot.sandbox_objects:
                snapshot.sandbox_objects[kind] = {
                    text(metadata_of(item).get("name")): conceal({**item, "kind": kind.name}, settings.SECRET_KEY)
                    for item in context.kube.list_objects(
                        kind, sandbox.namespace, labels=f"{INSTANCE_LABEL}={sandbox.name}"
                    )
                }
            return True, snapshot.sandbox_objects[kind].get(applied.name)
        case _:
            return False, None


def _confirm(
    context: PassContext,
    sandbox: Sandbox,
    connection: Connection,
    manifest: Object,
    live: Object,
    found: list[Difference],
) -> list[Difference]:
    """Return the differences that are real, each with why the panel can't revert it, if it can't."""
    if manifest.get("kind") == "Cluster":
        return mark_unrevertible(found)
    try:
        answer = _apply_again(context, sandbox, connection, manifest, live, is_dry_run=True)
    except RefusedError as error:
        if error.cause is Cause.NO_DRY_RUN:
            return found  # reverting shows what admission makes of the manifest, and that is remembered
        said = f"the API server refuses it ({error.code})." if manifest.get("kind") == "Secret" else str(error)
        return mark_refused(found, said)
    dry_run = conceal({**answer, "kind": manifest.get("kind")}, settings.SECRET_KEY)
    return keep_revertible(found, find_drift(manifest, dry_run))


def _apply_again(
    context: PassContext,
    sandbox: Sandbox,
    connection: Connection,
    manifest: Object,
    live: Object | None,
    *,
    is_dry_run: bool = False,
) -> Object:
    """Make an object as it was applied, and return it. Raises KubeError, UndecryptableValueError."""
    if manifest.get("kind") == SERVICE.name and live is not None:
        # Server-side apply merges a Service's ports by number, so a changed number would stay next to the right one.
        metadata = metadata_of(manifest)
        changes = {"metadata": {"uid": uid_of(live), "labels": labels_of(manifest)}, "spec": manifest["spec"]}
        where = text(metadata.get("namespace")), text(metadata.get("name"))
        return context.kube.merge(SERVICE, *where, changes, is_dry_run=is_dry_run)
    if manifest.get("kind") == SECRET.name:
        # Only digests of the values are stored: the values are those of the environment now.
        environment = sandbox_environment(project_environment(context.project), connection)
        manifest = manifests.build_environment_secret(sandbox.name, sandbox.namespace, context.owner, environment)
    return context.kube.apply(manifest, kind_of(manifest).plural, is_dry_run=is_dry_run)


def revert_drift(context: PassContext, connection: Connection, now: datetime) -> None:
    """Apply again what differs, as it was applied; of a Cluster only its labels."""
    project, sandbox, snapshot = context.project, context.sandbox, context.snapshot
    if sandbox is None:
        return
    revertible = [item for item in snapshot.drift or () if item.is_revertible]
    remaining = tuple(item for item in snapshot.drift or () if not item.is_revertible)
    for applied in project.applied.all():
        if not any((item.kind, item.name) == (applied.kind, applied.name) for item in revertible):
            continue
        if applied.kind == "Cluster":
            _set_labels(context, applied)
            continue
        try:
            answer = _apply_again(context, sandbox, connection, applied.manifest, snapshot.sandbox_service)
        except RefusedError as error:
            if applied.kind != SECRET.name:
                raise
            # The API server may quote the Secret in its message.
            raise error.without_quote(f"The API server refused the Secret {applied.name}.") from None
        if applied.kind == STATEFULSET.name:
            snapshot.statefulset = answer
        context.remember_answer(applied, answer)
    snapshot.forget_sandbox()
    snapshot.drift = remaining
    # The pod may restart, and gets time for that.
    context.set(sandbox, deadline=now + timedelta(seconds=settings.READY_TIMEOUT_S))
    context.note(REVERTED, f"Reverted a change made outside the panel: {summarize(revertible)}.", level=Level.WARNING)
    context.store()


def _set_labels(context: PassContext, applied: LastAppliedManifest) -> None:
    snapshot = context.snapshot
    labels = {str(name): str(value) for name, value in labels_of(applied.manifest).items()}
    kind = cluster_kind(text(mapping(snapshot.cluster).get("apiVersion")))
    snapshot.cluster = context.kube.merge_labels(
        kind, applied.namespace, applied.name, labels, uid=uid_of(snapshot.cluster)
    )
