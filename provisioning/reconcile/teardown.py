"""Removing what a project has in the cluster: what is left of it, and the effects that delete or release it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from projects.confidential.encrypted_fields import EncryptedText
from projects.domain.states import DesiredState, Origin, Reason
from projects.models import DatabaseCluster, Project, ProjectVariable, Sandbox
from projects.services.resources import retire_resources
from provisioning.decisions.readiness import judge_cluster
from provisioning.decisions.types import Observed, Remaining
from provisioning.identity import prove_own_cluster
from provisioning.kube.client import Kube
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import INGRESS, POD, PVC, SECRET, SERVICE, STATEFULSET, Kind, cluster_kind
from provisioning.objects.names import (
    INSTANCE_LABEL,
    MANAGED_BY_LABEL,
    ORIGIN_LABEL,
    PROJECT_ID_LABEL,
    RELEASED_LABELS,
    is_derived,
    is_panel_made,
    project_id_of,
)
from provisioning.objects.readers import Object, created_at, labels_of, metadata_of, text, uid_of
from provisioning.objects.refusals import Cause
from provisioning.reconcile.context import PassContext, Snapshot
from provisioning.reconcile.diagnose import explain_held_deletion
from provisioning.reconcile.rotate_password import finish_rotation

_OWNED_KINDS = (STATEFULSET, POD, SERVICE, SECRET, PVC, INGRESS)
# A label that cert-manager (1.12 and later) puts on its Secrets.
_CERTIFICATE_LABEL = "controller.cert-manager.io/fao"
# How far the API server's clock may be behind the panel's.
_CLOCKS_DIFFER = timedelta(minutes=5)


def observe_remaining(context: PassContext) -> Observed:
    """Return what is left of a project that is deleted or cancelled: its Clusters, what KubeBlocks derived from them,
    and what the panel created. After a cancellation, only what came from the cancelled request. Raises KubeError."""
    project, snapshot = context.project, context.snapshot
    # Rows are stored before the first request: without a row, nothing was ever created.
    sandboxes = list(project.sandboxes.all())
    namespaces = {row.namespace for row in (*project.databases.all(), *sandboxes)}
    remaining: dict[tuple[Kind, str, str], Remaining] = {}
    snapshot.foreign = []
    if namespaces:
        # Nothing is left in another cluster.
        prove_own_cluster(context.kube, is_fresh=True)
    for namespace in sorted(namespaces):
        _observe_namespace(context, namespace, sandboxes, remaining)
    snapshot.remaining = {
        key: replace(item, is_deleting=item.is_deleting or key in snapshot.deletion_requested)
        for key, item in remaining.items()
    }
    return Observed(cluster=judge_cluster(None), remaining=tuple(snapshot.remaining.values()))


def _observe_namespace(
    context: PassContext, namespace: str, sandboxes: list[Sandbox], remaining: dict[tuple[Kind, str, str], Remaining]
) -> None:
    """Add what is left in a namespace. Raises KubeError."""
    project, kube = context.project, context.kube
    is_cancelled = project.desired_state == DesiredState.REGISTERED
    sandbox_names = {row.name for row in sandboxes}
    doomed_names = _observe_clusters(context, namespace, remaining)
    applied = {(row.kind, row.name): row.object_uid for row in project.applied.filter(namespace=namespace)}
    for kind in _OWNED_KINDS:
        for item in kube.list_objects(kind, namespace, labels=f"{PROJECT_ID_LABEL}={project.uid}"):
            instance = labels_of(item).get(INSTANCE_LABEL)
            if not _is_ours(kind, item, sandbox_names, applied):
                # What KubeBlocks derived from a Cluster is deleted with it, and is waited for below.
                if instance not in doomed_names:
                    context.snapshot.foreign.append((kind, namespace, _name_of(item)))
            elif not is_cancelled or instance in sandbox_names:
                _add(remaining, kind, namespace, item)
    for item in _list_certificate_secrets(context, sandboxes, namespace):
        _add(remaining, SECRET, namespace, item)
    if doomed_names:
        # Helm and others use the instance label as well, and labels can be copied.
        derived = f"{INSTANCE_LABEL} in ({','.join(sorted(doomed_names))}),{MANAGED_BY_LABEL}=kubeblocks"
        for kind in (SECRET, PVC):
            for item in kube.list_objects(kind, namespace, labels=derived):
                is_anothers = project_id_of(labels_of(item)) not in (None, str(project.uid))
                if (
                    is_derived(item, labels_of(item).get(INSTANCE_LABEL, ""))
                    and not is_anothers
                    and (kind, namespace, _name_of(item)) not in remaining
                ):
                    _add(remaining, kind, namespace, item, is_ours=False)


def _observe_clusters(
    context: PassContext, namespace: str, remaining: dict[tuple[Kind, str, str], Remaining]
) -> set[str]:
    """Add the project's Clusters in a namespace; return the names of those that are deleted or gone, as what KubeBlocks
    derived from them is waited for. Raises KubeError."""
    project, kube = context.project, context.kube
    rows: dict[str, list[DatabaseCluster]] = {}
    for row in project.databases.filter(namespace=namespace).order_by("pk"):
        rows.setdefault(row.name, []).append(row)
    doomed_names = {name for name, of_name in rows.items() if not _is_kept(project, {}, of_name)}
    try:
        kind = cluster_kind(kube.cluster_api_version())
        labeled = kube.list_objects(kind, namespace, labels=f"{PROJECT_ID_LABEL}={project.uid}")
        clusters = []
        for item in labeled:
            if _is_cluster_of(item, rows.get(_name_of(item), [])):
                clusters.append(item)
            else:
                # The label alone names no Cluster: anyone may put it on theirs.
                context.snapshot.foreign.append((kind, namespace, _name_of(item)))
        for name in sorted(doomed_names - {_name_of(item) for item in clusters}):
            found = kube.get_or_none(kind, namespace, name)
            if found is None:
                continue
            is_same = bool(uid_of(found)) and uid_of(found) == rows[name][-1].object_uid
            if project_id_of(labels_of(found)) is None and is_same and not _stays(project, found, rows[name]):
                clusters.append(found)  # the project's; somebody removed its label
            else:
                doomed_names.discard(name)  # another's by now: it is not waited for
    except RefusedError as error:
        if error.cause is not Cause.UNSERVED:
            raise
        return doomed_names  # without KubeBlocks there are no Clusters
    for item in clusters:
        name = _name_of(item)
        is_kept = _stays(project, item, rows.get(name, []))
        obstacle = "" if is_kept else explain_held_deletion(kube, item, timezone.now())
        _add(remaining, kind, namespace, item, is_kept=is_kept, obstacle=obstacle)
        doomed_names = doomed_names - {name} if is_kept else doomed_names | {name}
    return doomed_names


def _stays(project: Project, cluster: Object, rows: Sequence[DatabaseCluster]) -> bool:
    """Whether a Cluster is released, not deleted. `rows`: those of its name, the newest last."""
    is_cancelled = project.desired_state == DesiredState.REGISTERED
    is_older = is_cancelled and _is_older_than_request(cluster, rows[-1] if rows else None)
    return is_older or _is_kept(project, labels_of(cluster), rows)


def _is_kept(project: Project, labels: Mapping[str, str], rows: Sequence[DatabaseCluster]) -> bool:
    """Whether a Cluster is kept when its project is deleted, by its labels and the rows of its name.

    An adopted Cluster is kept unless the request says otherwise, which holds for the project's current database, not
    for earlier ones. A Cluster that was neither adopted nor created by the panel is always kept. The rows count as much
    as the labels: people label Clusters without an origin, and labels get lost.
    """
    origins = {labels.get(ORIGIN_LABEL), *(row.origin for row in rows)}
    if Origin.ADOPTED in origins:
        is_had = any(row.retired_at is None or row.reason == Reason.DELETED for row in rows)
        return not (project.delete_adopted and is_had)
    return Origin.CREATED not in origins


def _is_cluster_of(item: Object, rows: Sequence[DatabaseCluster]) -> bool:
    """Whether one of the project's rows of that name means this very Cluster: by its uid, or, where the answer to its
    creation was lost, by its name, which was stored before it was created. A live row of another project that holds the
    Cluster wins."""
    uid = uid_of(item)
    known = {row.object_uid for row in rows if row.object_uid}
    is_answer_lost = any(row.origin == Origin.CREATED and row.applied_at is None for row in rows)
    if uid not in known and (known or not is_answer_lost):
        return False
    others = DatabaseCluster.objects.filter(retired_at=None, object_uid=uid).exclude(project=rows[0].project_id)
    return not others.exists()


def _is_ours(kind: Kind, item: Object, sandboxes: set[str], applied: Mapping[tuple[str, str], str]) -> bool:
    """Whether the panel created an object with the project's label: it was applied under this name, or Kubernetes
    created it for a sandbox's StatefulSet. Labels are no proof, because anyone can copy them.

    `applied`: the uids of what was applied, by kind and name; "" for an unknown uid.
    """
    name = _name_of(item)
    known = applied.get((kind.name, name))
    if known is not None:
        return known in ("", uid_of(item))
    if kind in (PVC, POD):
        prefix = "home-" if kind is PVC else ""
        return any(re.fullmatch(rf"{prefix}{re.escape(sandbox)}-[0-9]{{1,4}}", name) for sandbox in sandboxes)
    # The answer was lost before the uid was recorded. Only names with the sandbox's random suffix count then.
    is_named_by_panel = any(name == sandbox or name.startswith(f"{sandbox}-") for sandbox in sandboxes)
    return is_named_by_panel and is_panel_made(labels_of(item), is_cluster=False)


def _name_of(item: Object) -> str:
    return text(metadata_of(item).get("name"), 253)


def _list_certificate_secrets(context: PassContext, sandboxes: Iterable[Sandbox], namespace: str) -> list[Object]:
    """Return the Secrets that cert-manager created for these sandboxes' Ingresses. By default, it keeps them when the
    Ingress is deleted. They have none of the panel's labels."""
    names = {name for sandbox in sandboxes if sandbox.namespace == namespace for name in sandbox.certificates}
    if not names:
        return []
    secrets = context.kube.list_objects(SECRET, namespace, labels=_CERTIFICATE_LABEL)
    return [item for item in secrets if _name_of(item) in names]


def _is_older_than_request(cluster: Object, row: DatabaseCluster | None) -> bool:
    """Whether a Cluster is older than the request that uses it, so that it may hold data."""
    created = created_at(cluster)
    if row is None or row.requested_at is None or created is None:
        return True
    return created < row.requested_at - _CLOCKS_DIFFER


def _add(
    remaining: dict[tuple[Kind, str, str], Remaining],
    kind: Kind,
    namespace: str,
    item: Object,
    *,
    is_kept: bool = False,
    is_ours: bool = True,
    obstacle: str = "",
) -> None:
    name = _name_of(item)
    is_deleting = bool(metadata_of(item).get("deletionTimestamp"))
    # A Pod is deleted with its StatefulSet.
    is_ours = is_ours and kind is not POD
    remaining[kind, namespace, name] = Remaining(
        f"{kind.name} {name}", is_deleting, is_kept, is_ours, uid=uid_of(item), obstacle=obstacle
    )


def delete_objects(context: PassContext) -> None:
    """Request the deletion of every object that the panel has to delete."""
    snapshot = context.snapshot
    doomed = {key: item for key, item in snapshot.remaining.items() if item.is_deletable}
    for (kind, namespace, name), item in doomed.items():
        _delete_observed(context.kube, kind, namespace, name, item.uid)
    snapshot.deletion_requested |= doomed.keys()
    message = f"Requested the deletion of {', '.join(item.label for item in doomed.values())}."
    # Each pass requests the deletion of what is still there; the event is recorded once.
    if not context.project.events.filter(reason="Deleting", message=message).exists():
        context.note("Deleting", message)
    context.store()


def _delete_observed(kube: Kube, kind: Kind, namespace: str, name: str, uid: str) -> None:
    """Delete the object that was observed, and no later one of its name. Raises KubeError."""
    try:
        kube.delete(kind, namespace, name, uid=uid)
    except RefusedError as error:
        # 409: the name belongs to another object by now. The next pass observes whose it is.
        if error.cause is not Cause.CONFLICT:
            raise


def release_clusters(context: PassContext, now: datetime) -> None:
    """Remove the panel's labels from the Clusters that are kept with their data."""
    for (kind, namespace, name), item in context.snapshot.remaining.items():
        if not item.is_kept:
            continue
        cluster = context.kube.get_or_none(kind, namespace, name)
        if cluster is None or project_id_of(labels_of(cluster)) != str(context.project.uid):
            continue
        with transaction.atomic():
            context.store()
            disown_cluster(namespace, name)
        # The owner must find the current password in the Secret.
        finish_rotation(context, name, cluster, now)
        context.kube.merge_labels(kind, namespace, name, RELEASED_LABELS, uid=uid_of(cluster))
        context.note("ClusterReleased", f"Released the Cluster {name}. It is kept with its data.")
        context.store()


def disown_cluster(namespace: str, name: str) -> None:
    """Remove the uid of a Cluster from the rows before it is released: by its uid, a deletion would find the Cluster
    without its labels."""
    DatabaseCluster.objects.filter(namespace=namespace, name=name, origin=Origin.CREATED).update(object_uid="")


def finish_deletion(context: PassContext, now: datetime) -> None:
    """Retire the rows, and forget the values of the variables."""
    kept = _explain_kept(context.project) + _explain_foreign(context.snapshot)
    context.note("Deleted", f"Every object that the panel created is deleted.{kept}")
    with transaction.atomic():
        context.store()
        retire_resources(context.project, now, Reason.DELETED)
        ProjectVariable.objects.filter(project=context.project).update(value=EncryptedText())


def _explain_kept(project: Project) -> str:
    """Return a sentence about what is kept of the database, after a space."""
    databases = list(project.databases.filter(retired_at=None))
    adopted = [row.name for row in databases if row.origin == Origin.ADOPTED and not project.delete_adopted]
    if adopted:
        return f" Released with its data: Cluster {', '.join(adopted)}."
    return " Backups that KubeBlocks made of the database, if any, are kept." if databases else ""


def _explain_foreign(snapshot: Snapshot) -> str:
    foreign = ", ".join(f"{kind.name} {name}" for kind, _, name in snapshot.foreign)
    return f" Not created by the panel, so kept: {foreign}." if foreign else ""


def finish_cancellation(context: PassContext, now: datetime) -> None:
    """Retire the rows: the project is as it was before the request."""
    context.note("Cancelled", "Provisioning cancelled. Every object that it created is deleted.")
    with transaction.atomic():
        context.store(requested_at=None)
        retire_resources(context.project, now, Reason.CANCELLED)
    context.project.requested_at = None
