"""The end of what a project has in the cluster: what is left of it, and the effects that bring it to its end."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.db import transaction

from projects.ending import retire_rows
from projects.fields import EncryptedText
from projects.models import DatabaseCluster, Project, ProjectVariable
from projects.states import DesiredState, Origin, Reason
from provisioning import kube as k
from provisioning.manifests import ISSUER_ANNOTATION
from provisioning.names import INSTANCE_LABEL, ORIGIN_LABEL, PROJECT_ID_LABEL, RELEASED_LABELS, project_id_of
from provisioning.observing import World
from provisioning.password_rotation import finish_rotation
from provisioning.readiness import (
    Object,
    annotations_of,
    created_at,
    judge_cluster,
    labels_of,
    mapping,
    metadata_of,
    objects,
    text,
    uid_of,
)
from provisioning.scene import Scene
from provisioning.terms import Remaining, Seen

_OWNED_KINDS = (k.STATEFULSET, k.POD, k.SERVICE, k.SECRET, k.PVC, k.INGRESS)
# Of every Secret that cert-manager makes.
_CERTIFICATE_LABEL = "controller.cert-manager.io/fao"
# The API server's clock may be behind the panel's: what is older than a request by less may still come from it.
_CLOCKS_DIFFER = timedelta(minutes=5)


def observe_remaining(world: World, project: Project, namespaces: set[str]) -> Seen:
    """Return what is left of a project that is to be removed: everything with its label, and what KubeBlocks derived
    from its Clusters; where a request is taken back, only what came from it. Raises KubeError."""
    remaining: dict[tuple[k.Kind, str, str], Remaining] = {}
    selector = f"{PROJECT_ID_LABEL}={project.uid}"
    takes_back = project.desired_state == DesiredState.REGISTERED
    sandboxes = set(project.sandboxes.values_list("name", flat=True))
    for namespace in sorted(namespaces):
        rows = list(project.databases.filter(namespace=namespace))
        rows_by_name = {row.name: row for row in rows}
        adopted_names = {row.name for row in rows if row.origin == Origin.ADOPTED}
        doomed_names = {row.name for row in rows if row.origin == Origin.CREATED or project.delete_adopted}
        clusters: list[Object] = []
        try:
            cluster_kind = k.cluster_kind(world.kube.cluster_api_version())
            clusters += world.kube.list_objects(cluster_kind, namespace, labels=selector)
            found = {text(metadata_of(item).get("name")) for item in clusters}
            for name in sorted(doomed_names - found):
                item = world.kube.get_or_none(cluster_kind, namespace, name)
                if item is None:
                    continue
                row = rows_by_name[name]
                is_same = uid_of(item) == row.object_uid
                is_released = takes_back and _was_there_before(item, row)
                if project_id_of(labels_of(item)) is None and is_same and not is_released:
                    clusters.append(item)  # ours, whose label someone took off
                else:
                    doomed_names.discard(name)  # somebody else's by now: neither it nor its Secrets are waited for
        except k.RefusedError as error:
            if error.code != 404:
                raise  # 404: no KubeBlocks, no Clusters
        for item in clusters:
            name = text(metadata_of(item).get("name"))
            # The row knows too: a Cluster that people labelled by hand has no origin label.
            is_adopted = labels_of(item).get(ORIGIN_LABEL) == Origin.ADOPTED or name in adopted_names
            if takes_back and _was_there_before(item, rows_by_name.get(name)):
                is_adopted = True
                doomed_names.discard(name)
            _add(remaining, cluster_kind, namespace, item, is_adopted=is_adopted)
            if not is_adopted or project.delete_adopted:
                doomed_names.add(name)
        # What belongs to a Cluster that stays, stays with it, whoever has put the project's label on it.
        kept_names = {text(metadata_of(item).get("name")) for item in clusters} | adopted_names
        kept_names -= doomed_names
        for kind in _OWNED_KINDS:
            for item in world.kube.list_objects(kind, namespace, labels=selector):
                instance = labels_of(item).get(INSTANCE_LABEL)
                if instance not in kept_names and (not takes_back or instance in sandboxes):
                    _add(remaining, kind, namespace, item)
        for item in _certificate_secrets(world, project, namespace):
            _add(remaining, k.SECRET, namespace, item)
        if doomed_names:
            instances = f"{INSTANCE_LABEL} in ({','.join(sorted(doomed_names))})"
            for kind in (k.SECRET, k.PVC):
                for item in world.kube.list_objects(kind, namespace, labels=instances):
                    if not labels_of(item).get(PROJECT_ID_LABEL):
                        _add(remaining, kind, namespace, item, is_ours=False)
    world.remaining = {
        key: replace(item, is_deleting=item.is_deleting or key in world.asked_to_go) for key, item in remaining.items()
    }
    return Seen(cluster=judge_cluster(None), remaining=tuple(world.remaining.values()))


def _certificate_secrets(world: World, project: Project, namespace: str) -> list[Object]:
    """Return the Secrets that cert-manager has made for the project's Ingresses. It leaves them where they are when
    the Ingress goes, unless told otherwise; they carry its own label (1.12 and later) and none of ours."""
    names = {
        text(tls.get("secretName"), 253)
        for applied in project.applied.filter(kind=k.INGRESS.name, namespace=namespace)
        if ISSUER_ANNOTATION in annotations_of(applied.manifest)
        for tls in objects(mapping(applied.manifest.get("spec")).get("tls"))
    }
    if not names:
        return []
    secrets = world.kube.list_objects(k.SECRET, namespace, labels=_CERTIFICATE_LABEL)
    return [item for item in secrets if text(metadata_of(item).get("name"), 253) in names]


def _was_there_before(cluster: Object, row: DatabaseCluster | None) -> bool:
    """Whether a Cluster with the project's label is older than the request that used it: it may hold data then."""
    made_at = created_at(cluster)
    if row is None or row.requested_at is None or made_at is None:
        return True
    return made_at < row.requested_at - _CLOCKS_DIFFER


def _add(
    remaining: dict[tuple[k.Kind, str, str], Remaining],
    kind: k.Kind,
    namespace: str,
    item: Object,
    *,
    is_adopted: bool = False,
    is_ours: bool = True,
) -> None:
    name = text(metadata_of(item).get("name"))
    is_deleting = bool(metadata_of(item).get("deletionTimestamp"))
    # Pods go with their StatefulSet.
    is_ours = is_ours and kind is not k.POD
    remaining[kind, namespace, name] = Remaining(
        f"{kind.name} {name}", is_deleting, is_adopted, is_ours, uid=uid_of(item)
    )


def delete_objects(scene: Scene, now: datetime) -> None:
    """Ask for the deletion of everything that is ours to delete and not going yet."""
    world = scene.world
    doomed = {
        key: item
        for key, item in world.remaining.items()
        if item.is_ours and not item.is_deleting and not (item.is_adopted and not scene.project.delete_adopted)
    }
    for (kind, namespace, name), item in doomed.items():
        _delete_seen(world.kube, kind, namespace, name, item.uid)
    world.asked_to_go |= doomed.keys()
    message = f"Asked for the deletion of {', '.join(item.label for item in doomed.values())}."
    # What stays as it was is asked for again by each pass, and said once.
    if not scene.project.events.filter(reason="Deleting", message=message).exists():
        scene.note("Deleting", message)
    scene.store()


def _delete_seen(kube: k.Kube, kind: k.Kind, namespace: str, name: str, uid: str) -> None:
    """Delete the object that was looked at, and nothing that has come to its name since. Raises KubeError."""
    try:
        kube.delete(kind, namespace, name, uid=uid)
    except k.RefusedError as error:
        # 409: the object that was meant is gone. Whose the new one is, the next look says.
        if error.code != 409:
            raise


def release_clusters(scene: Scene, now: datetime) -> None:
    """Take our labels off the Clusters that are not ours to delete: they and their data stay."""
    for (kind, namespace, name), item in scene.world.remaining.items():
        if not item.is_adopted:
            continue
        cluster = scene.world.kube.get_or_none(kind, namespace, name)
        if cluster is None or project_id_of(labels_of(cluster)) != str(scene.project.uid):
            continue
        # Who gets it back must find the password that it has in its Secret.
        finish_rotation(scene, name, cluster, now)
        scene.world.kube.merge_labels(kind, namespace, name, RELEASED_LABELS, uid=uid_of(cluster))
        scene.note("ClusterReleased", f"Released the Cluster {name}; it and its data stay.")
        scene.store()


def finish_deletion(scene: Scene, now: datetime) -> None:
    """Retire the rows: the deletion is done."""
    kept = _say_kept(scene.project)
    scene.note("Deleted", f"The sandbox and the database are gone from the cluster.{kept}")
    with transaction.atomic():
        scene.store()
        retire_rows(scene.project, now, Reason.DELETED)
        ProjectVariable.objects.filter(project=scene.project).update(value=EncryptedText())


def _say_kept(project: Project) -> str:
    """Return what stays of a deleted project, by its policies."""
    databases = list(project.databases.filter(retired_at=None))
    adopted = [row.name for row in databases if row.origin == Origin.ADOPTED and not project.delete_adopted]
    if adopted:
        return f" Kept with its data, without the panel's labels: Cluster {', '.join(adopted)}."
    return " Kept: backups that KubeBlocks has made of the database, if there are any." if databases else ""


def finish_cancellation(scene: Scene, now: datetime) -> None:
    """Retire the rows of what was taken back: the project is as if nothing had been asked for."""
    scene.note("Cancelled", "Everything that was made for it is gone from the cluster.")
    with transaction.atomic():
        scene.store(requested_at=None)
        retire_rows(scene.project, now, Reason.CANCELLED)
    scene.project.requested_at = None
