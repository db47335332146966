"""Names and labels of objects in the cluster, and which existing Cluster belongs to a project. Pure."""

import re
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from projects.domain.naming import MAX_KUBERNETES_NAME_LENGTH, legacy_name
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, objects, text, uid_of

MANAGER = "controlpanel"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
INSTANCE_LABEL = "app.kubernetes.io/instance"
PART_OF_LABEL = "app.kubernetes.io/part-of"
DOMAIN = "controlpanel.fullstackagent.io"
PROJECT_LABEL = f"{DOMAIN}/project"
PROJECT_ID_LABEL = f"{DOMAIN}/project-id"
# "created" or "adopted": decides, without the panel's rows, whether deleting the project deletes the Cluster.
ORIGIN_LABEL = f"{DOMAIN}/origin"
ENVIRONMENT_ANNOTATION = f"{DOMAIN}/environment"
# On a Service: the address for clients as host:port, if it isn't the DNS name (a gateway, a local cluster).
ENDPOINT_ANNOTATION = f"{DOMAIN}/endpoint"
# The predecessor's label of its databases. Its value is cut to 20 characters, so it isn't unique.
LEGACY_PROJECT_LABEL = "project.fullstackagent.io/name"

# KubeBlocks derives names from a Cluster's name: 41 characters are possible with the component "postgresql", 31 for the
# target of a restore in 1.0.x.
MAX_CLUSTER_NAME_LENGTH = 30
_SUFFIX_LENGTH = 6
_DATABASE_INFIX = "-agentruntime-"
_SANDBOX_INFIX = "-sandbox-"


def _suffix() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(_SUFFIX_LENGTH))


def build_database_name(project: str, suffix: str | None = None) -> str:
    """Return `{project}-agentruntime-{6 of a-z0-9}`, with the project's part cut so that the name has at most 30
    characters."""
    room = MAX_CLUSTER_NAME_LENGTH - len(_DATABASE_INFIX) - _SUFFIX_LENGTH
    return f"{project[:room].rstrip('-')}{_DATABASE_INFIX}{suffix or _suffix()}"


def build_sandbox_name(project: str, suffix: str | None = None) -> str:
    """Return `{project}-sandbox-{6 of a-z0-9}`: at most 35 characters, so that derived names fit in 63."""
    return f"{project[:MAX_KUBERNETES_NAME_LENGTH].rstrip('-')}{_SANDBOX_INFIX}{suffix or _suffix()}"


# Merge patch that removes the owner labels.
RELEASED_LABELS: Mapping[str, None] = dict.fromkeys((PROJECT_LABEL, PROJECT_ID_LABEL, ORIGIN_LABEL))


def claim_labels(project: str, uid: UUID) -> dict[str, str]:
    """Return the labels that name the owning project of an object, whoever created it."""
    return {PROJECT_LABEL: project, PROJECT_ID_LABEL: str(uid)}


def owner_labels(project: str, uid: UUID) -> dict[str, str]:
    """Return the labels of an object that the panel creates."""
    return {MANAGED_BY_LABEL: MANAGER, **claim_labels(project, uid)}


def project_id_of(labels: Mapping[str, str] | None) -> str | None:
    """Return the project id in an object's labels; None if it has none."""
    return (labels or {}).get(PROJECT_ID_LABEL) or None


def is_panel_made(labels: Mapping[str, str], *, is_cluster: bool) -> bool:
    """Whether an object's own labels say that the panel created it. The project label alone doesn't, because people
    copy it. A Cluster needs the origin label, which distinguishes it from an adopted one."""
    return labels.get(ORIGIN_LABEL) == "created" if is_cluster else labels.get(MANAGED_BY_LABEL) == MANAGER


def is_derived(item: Object, cluster: str) -> bool:
    """Whether a Secret or PersistentVolumeClaim with KubeBlocks' labels goes with the Cluster of that name: KubeBlocks
    owns it, or it has a name that KubeBlocks gives. Labels alone are no proof, since they are copied with an object."""
    for owner in objects(metadata_of(item).get("ownerReferences")):
        if text(owner.get("apiVersion")).partition("/")[0].endswith("kubeblocks.io"):
            return True
    name, of = text(metadata_of(item).get("name"), 253), re.escape(cluster)
    # {cluster}-{component}-account-{account}, {cluster}-conn-credential, {volume}-{cluster}-{component}-{ordinal}
    known = rf"{of}-(?:[a-z0-9-]+-account-[a-z0-9]+|conn-credential)|[a-z0-9-]+-{of}-[a-z0-9-]+-[0-9]+"
    return bool(cluster) and re.fullmatch(known, name) is not None


def as_uid(label: str | None) -> UUID | None:
    """Return a project id as a UUID, or None if it isn't one: anyone may label an object with anything."""
    try:
        return UUID(label or "")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ExistingCluster:
    """A Cluster as listed."""

    name: str
    labels: Mapping[str, str]
    uid: str = ""
    is_deleting: bool = False
    is_postgresql: bool = True


def read_existing_cluster(item: Object) -> ExistingCluster:
    metadata, spec = metadata_of(item), mapping(item.get("spec"))
    engine = text(spec.get("clusterDef")) or text(spec.get("clusterDefinitionRef"))
    return ExistingCluster(
        text(metadata.get("name")),
        labels_of(item),
        uid_of(item),
        bool(metadata.get("deletionTimestamp")),
        engine in ("", "postgresql"),
    )


class UndecidedClusterError(Exception):
    """Somebody must choose which Cluster belongs to the project. The message says who and how."""


class AmbiguousClusterError(UndecidedClusterError):
    """More than one Cluster may belong to the project."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        super().__init__(
            f"More than one database cluster may belong to this project: {', '.join(self.names)}. A user who may adopt "
            "has to choose one, under Unmanaged clusters or with `manage.py adopt NAME --cluster CLUSTER`."
        )


class AdoptionNeededError(UndecidedClusterError):
    """A Cluster without labels may belong to the project, and the user who asked for its database may not adopt."""

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(
            f"A database cluster {name} already exists in the namespace {namespace}. Its name or its labels match "
            "this project, but the user who provisioned the project may not adopt it, so nothing was created. Ask a "
            "user who may adopt, such as an Operator, to press Adopt. To get a new database instead, delete this "
            "project and add one with another name, or in another namespace."
        )


def find_existing_cluster(
    clusters: Iterable[ExistingCluster],
    *,
    kubernetes_name: str,
    raw_name: str,
    uid: UUID,
    known_uids: Iterable[str] = (),
    taken: Iterable[str] = (),
) -> ExistingCluster | None:
    """Return the project's Cluster among those of its namespace, or None.

    The rules, in order: the object's uid in `known_uids` (of the project's own rows), the panel's own label, the
    predecessor's label, a name that starts with `{project}-agentruntime-`, the project's Kubernetes name, its raw name.
    Only the first is proof. A Cluster is ignored if it is being deleted, has another engine, is labeled as another
    project's, or is in `taken` (names and uids that other rows hold).

    Raises AmbiguousClusterError if the first rule that matches matches twice.
    """
    held = set(taken)
    candidates = [
        cluster
        for cluster in clusters
        if not cluster.is_deleting
        and cluster.is_postgresql
        and held.isdisjoint((cluster.name, cluster.uid))
        and project_id_of(cluster.labels) in (None, str(uid))
    ]
    legacy = legacy_name(raw_name)
    projects = {kubernetes_name, legacy} - {""}
    known = frozenset(known_uids) - {""}
    rules = (
        lambda cluster: cluster.uid in known,
        lambda cluster: project_id_of(cluster.labels) == str(uid),
        lambda cluster: cluster.labels.get(LEGACY_PROJECT_LABEL) in projects,
        lambda cluster: cluster.name.startswith(tuple(f"{project}{_DATABASE_INFIX}" for project in projects)),
        lambda cluster: cluster.name in projects,
        lambda cluster: cluster.name == raw_name,
    )
    for rule in rules:
        matches = [cluster for cluster in candidates if rule(cluster)]
        if len(matches) > 1:
            raise AmbiguousClusterError(cluster.name for cluster in matches)
        if matches:
            return matches[0]
    return None


def guess_project(cluster: str, labels: Mapping[str, str]) -> str:
    """Return the Kubernetes name of the project that a Cluster may belong to, by its labels (the predecessor's, the
    panel's, `app.kubernetes.io/part-of`) and the predecessor's name pattern; "" if unknown."""
    told = (labels.get(label) for label in (LEGACY_PROJECT_LABEL, PROJECT_LABEL, PART_OF_LABEL))
    project, infix, _ = cluster.partition(_DATABASE_INFIX)
    return next(filter(None, told), project if infix else "")


def explain_not_found(project: str, kubernetes_name: str, available: Iterable[str]) -> str:
    """Return the predecessor's message for a project without a database."""
    return (
        f"No database cluster found for project {project} (k8s name: {kubernetes_name}). "
        f"Available clusters: {name_some(available)}"
    )


def name_some(names: Iterable[str], most: int = 6) -> str:
    """Return the first names, sorted, and the number of others; "none" if there is none."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(ordered[:most]) or "none") + more
