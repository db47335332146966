"""Orphaned objects: objects with the panel's labels that belong to no project, and records whose objects are
missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F

from projects.audit.log import record_action
from projects.domain.states import Level, Phase, Reason
from projects.models import DatabaseCluster, Orphan, OrphanAction, Project, Sandbox
from projects.services.events import record_event
from provisioning.identity import connect_to_own_cluster
from provisioning.kube.client import Kube, disconnect
from provisioning.kube.errors import KubeError
from provisioning.kube.kinds import INGRESS, PVC, SECRET, SERVICE, STATEFULSET, cluster_kind
from provisioning.objects.diff import conceal, drop_admitted, find_drift
from provisioning.objects.names import (
    INSTANCE_LABEL,
    PROJECT_ID_LABEL,
    PROJECT_LABEL,
    RELEASED_LABELS,
    as_uid,
    is_panel_made,
    project_id_of,
)
from provisioning.objects.readers import Object, created_at, labels_of, metadata_of, text, uid_of
from provisioning.reconcile.context import PANEL
from provisioning.reconcile.teardown import disown_cluster

KINDS = (STATEFULSET, SERVICE, SECRET, PVC, INGRESS)
_SEEN_FIELDS = (
    *("uid", "project", "labelled_as", "explanation", "is_vanished", "is_foreign", "is_deletable", "is_releasable"),
    *("created_at", "seen_at"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """The projects of a namespace by uid, and the names of their objects by project."""

    projects: Mapping[str, Project]
    clusters: Mapping[int, frozenset[str]] = field(default_factory=dict)
    sandboxes: Mapping[int, frozenset[str]] = field(default_factory=dict)


def judge(kind: str, item: Object, known: Known, now: datetime) -> Orphan | None:
    """Return the row of an object that has a project's label and belongs to no project; None for any other object.

    Pure. An object that a project in progress may still create, use or delete isn't orphaned, nor is one that is being
    deleted, unless its project was forgotten.
    """
    labels, metadata = labels_of(item), metadata_of(item)
    owner, name = project_id_of(labels), text(metadata.get("name"), 253)
    if owner is None or not name:
        return None
    project = known.projects.get(owner)
    is_going = bool(metadata.get("deletionTimestamp"))
    if is_going and (project is None or project.phase != Phase.DELETED):
        return None
    if project is not None and project.phase != Phase.DELETED:
        has = known.clusters.get(project.pk, frozenset()) | known.sandboxes.get(project.pk, frozenset())
        called = name if kind == "Cluster" else labels.get(INSTANCE_LABEL, "")
        if not project.is_carried_out or called in has:
            return None
    is_cluster = kind == "Cluster"
    is_ours = is_panel_made(labels, is_cluster=is_cluster)
    labelled_as = text(labels.get(PROJECT_LABEL), 63)
    if is_going:
        explanation = f"{_explain_origin(project, labelled_as)} {_explain_going(metadata)}"
    else:
        explanation = _explain(project, labelled_as, is_cluster=is_cluster, is_ours=is_ours)
    return Orphan(
        kind=kind,
        namespace=text(metadata.get("namespace"), 63),
        name=name,
        uid=uid_of(item),
        project=project,
        labelled_as=labelled_as,
        explanation=explanation,
        is_foreign=project is None,
        is_deletable=is_ours and not is_going,
        is_releasable=is_cluster and not is_going,
        created_at=created_at(item),
        seen_at=now,
    )


def _explain_origin(project: Project | None, labelled_as: str) -> str:
    """Say which project the object comes from."""
    if project is None:
        return (
            f"It has the label of {labelled_as or 'a project'}, which this panel does not know. It may "
            "belong to another panel. Change it only if you are sure that it does not."
        )
    if project.is_forgotten:
        return f"Left behind by {project.name}, which was forgotten."
    if project.phase == Phase.DELETED:
        return f"Left behind by {project.name}, which is deleted."
    return f"Left from an earlier attempt to provision {project.name}, which no longer uses it."


def _explain(project: Project | None, labelled_as: str, *, is_cluster: bool, is_ours: bool) -> str:
    whose = _explain_origin(project, labelled_as)
    if is_cluster and is_ours:
        return f"{whose} Delete it with its data, or release it so that another project can adopt it."
    if is_cluster:
        kept = "The panel did not create it, so it is never deleted from here. Release it, then a project can adopt it."
        return f"{whose} {kept}"
    if is_ours:
        return f"{whose} Delete it if nobody needs it."
    kept = "The panel did not create it, so it never deletes it. Remove the project's label, or delete it yourself."
    return f"{whose} {kept}"


def _explain_going(metadata: Object) -> str:
    """Say what delays a deletion that was already requested."""
    finalizers = metadata.get("finalizers")
    held = ", ".join(text(item, 100) for item in finalizers[:3]) if isinstance(finalizers, list) else ""
    held_by = (
        f"waiting for its finalizers: {held}. Check the operator that removes them" if held else "no action needed"
    )
    return f"It is already being deleted; {held_by}."


def judge_missing(rows: Iterable[DatabaseCluster | Sandbox], there: set[str], now: datetime) -> list[Orphan]:
    """Return a row for each object that a settled project has applied and that is missing."""
    missing = []
    for row in rows:
        if row.applied_at is None or row.name in there or not row.project.is_carried_out:
            continue
        kind = "Cluster" if isinstance(row, DatabaseCluster) else STATEFULSET.name
        explanation = (
            f"{row.project.name} should have it, but it is missing in the cluster. On its page, Retry creates "
            "what can be created again, Delete deletes the project, and Forget ends it if the cluster can't be reached."
        )
        missing.append(
            Orphan(
                kind=kind,
                namespace=row.namespace,
                name=row.name,
                project=row.project,
                labelled_as=row.project.kubernetes_name,
                explanation=explanation,
                is_vanished=True,
                seen_at=now,
            )
        )
    return missing


# --- looking -------------------------------------------------------------------------------------------------------


def look_for_orphans(kube: Kube, clusters: Iterable[Object], namespace: str, now: datetime) -> set[str]:
    """Update the rows of one namespace; return the uids of settled projects whose objects have drifted.

    `clusters`: all Clusters of the namespace, as just listed. Sends one LIST request for each other kind. Raises
    KubeError before anything is written.
    """
    listed: dict[str, list[Object]] = {
        kind.name: kube.list_objects(kind, namespace, labels=PROJECT_ID_LABEL) for kind in KINDS
    }
    listed["Cluster"] = [item for item in clusters if project_id_of(labels_of(item))]
    names = {kind: {text(metadata_of(item).get("name"), 253) for item in items} for kind, items in listed.items()}
    names["Cluster"] = {text(metadata_of(item).get("name"), 253) for item in clusters}
    # Read rows after the objects: a row is stored before its object is created.
    owners = {project_id_of(labels_of(item)) for items in listed.values() for item in items}
    known = read_known(namespace, owners)
    found = [judge(kind, item, known, now) for kind, items in listed.items() for item in items]
    for model, kind in ((DatabaseCluster, "Cluster"), (Sandbox, STATEFULSET.name)):
        rows = model.objects.filter(namespace=namespace, retired_at=None).select_related("project")
        found += judge_missing(rows, names[kind], now)
    # By name, because PostgreSQL refuses the same row twice and a list may contain duplicates.
    orphans = {(row.namespace, row.kind, row.name): row for row in found if row is not None}.values()
    with transaction.atomic():
        # A request is for one object: another object of the same name doesn't inherit it.
        requested = Orphan.objects.filter(namespace=namespace).exclude(requested_action="")
        requested.exclude(uid__in=[row.uid for row in orphans if row.uid]).delete()
        Orphan.objects.bulk_create(
            orphans,
            update_conflicts=True,
            unique_fields=["namespace", "kind", "name"],
            update_fields=list(_SEEN_FIELDS),
        )
        Orphan.objects.filter(namespace=namespace, seen_at__lt=now).delete()
    return _find_drifted(listed, namespace)


def read_known(namespace: str, owners: Iterable[str | None]) -> Known:
    """Return what the rows say about these projects (uids from labels) and their objects in the namespace."""
    uids = {uid for uid in (as_uid(owner) for owner in owners) if uid}
    projects = {str(project.uid): project for project in Project.objects.filter(uid__in=uids)}
    return Known(projects, _names(DatabaseCluster, namespace), _names(Sandbox, namespace))


def _names(model: type[DatabaseCluster] | type[Sandbox], namespace: str) -> dict[int, frozenset[str]]:
    rows = model.objects.filter(namespace=namespace, retired_at=None)
    return {project: frozenset({name}) for project, name in rows.values_list("project_id", "name")}


def _find_drifted(listed: Mapping[str, list[Object]], namespace: str) -> set[str]:
    """Return the settled projects with an object that differs from what was applied. A pass then looks closer."""
    live = {
        (kind, text(metadata_of(item).get("name"), 253)): conceal({**item, "kind": kind}, settings.SECRET_KEY)
        for kind, items in listed.items()
        for item in items
    }
    at_rest = Project.objects.filter(
        phase=Phase.RUNNING, reason=Reason.READY, observed_generation=F("wanted_generation"), applied__isnull=False
    )
    drifted = set()
    for project in at_rest.filter(applied__namespace=namespace).distinct().prefetch_related("applied"):
        if any(
            drop_admitted(find_drift(sent.manifest, live.get((sent.kind, sent.name))), sent.admitted)
            for sent in project.applied.all()
        ):
            drifted.add(str(project.uid))
    return drifted


# --- ending --------------------------------------------------------------------------------------------------------


def end_orphan(pk: int, now: datetime) -> None:
    """Carry out the request for an orphaned object if it is still orphaned. Errors are stored on its row."""
    orphan = Orphan.objects.select_related("project").filter(pk=pk).exclude(requested_action="").first()
    if orphan is None:
        return
    try:
        said = _end(orphan, now)
    except KubeError as error:
        disconnect()
        Orphan.objects.filter(pk=pk).update(requested_action="", trouble=str(error))
        return
    with transaction.atomic():
        if orphan.project is not None:
            record_event(
                orphan.project,
                actor=PANEL,
                by_panel=True,
                reason="OrphanEnded",
                message=said,
                resource=f"{orphan.kind} {orphan.name}",
                level=Level.WARNING,
            )
        else:
            record_action(orphan, "OrphanEnded", by=orphan.requested_by, message=said)
        Orphan.objects.filter(pk=pk).delete()


def _end(orphan: Orphan, now: datetime) -> str:
    """Check again, act, and return what was done. Raises KubeError."""
    kube = connect_to_own_cluster()
    kinds = {kind.name: kind for kind in (*KINDS, cluster_kind(kube.cluster_api_version()))}
    kind = kinds[orphan.kind]
    items = kube.list_objects(kind, orphan.namespace, labels=PROJECT_ID_LABEL)
    item = next((item for item in items if uid_of(item) == orphan.uid), None)
    known = read_known(orphan.namespace, [project_id_of(labels_of(item))])
    still = judge(orphan.kind, item, known, now) if item is not None else None
    if still is None:
        return f"{orphan} no longer exists or now belongs to a project. It was not changed."
    if orphan.requested_action == OrphanAction.DELETE and still.is_deletable:
        kube.delete(kind, orphan.namespace, orphan.name, uid=orphan.uid)
        return f"Requested the deletion of the orphaned object {orphan}."
    if orphan.requested_action == OrphanAction.RELEASE and still.is_releasable:
        disown_cluster(orphan.namespace, orphan.name)
        kube.merge_labels(kind, orphan.namespace, orphan.name, RELEASED_LABELS, uid=orphan.uid)
        return f"Removed the panel's labels from {orphan}. It keeps its data."
    return f"{orphan} has changed in the meantime. It was not changed by the panel."
