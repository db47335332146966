"""Names and labels of the objects in the cluster; which of the clusters that exist is a project's. Pure."""

import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from projects.domain.naming import MAX_KUBERNETES_NAME_LENGTH, legacy_name

MANAGER = "controlpanel"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
INSTANCE_LABEL = "app.kubernetes.io/instance"
PART_OF_LABEL = "app.kubernetes.io/part-of"
DOMAIN = "controlpanel.fullstackagent.io"
PROJECT_LABEL = f"{DOMAIN}/project"
PROJECT_ID_LABEL = f"{DOMAIN}/project-id"
# "created" or "adopted": decides, even without the panel's rows, whether deleting the project deletes the Cluster.
ORIGIN_LABEL = f"{DOMAIN}/origin"
ENVIRONMENT_ANNOTATION = f"{DOMAIN}/environment"
# On a Service: where clients reach it, as host:port, when that is not its DNS name (a gateway, a local cluster).
ENDPOINT_ANNOTATION = f"{DOMAIN}/endpoint"
# What the predecessor labelled its databases with; cut to 20 characters, so not unique.
LEGACY_PROJECT_LABEL = "project.fullstackagent.io/name"

# KubeBlocks derives names from a Cluster's: 41 characters are possible with the component "postgresql",
# 31 for the target of a restore on 1.0.x.
MAX_CLUSTER_NAME_LENGTH = 30
_SUFFIX_LENGTH = 6
_DATABASE_INFIX = "-agentruntime-"
_SANDBOX_INFIX = "-sandbox-"


def _suffix() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(_SUFFIX_LENGTH))


def build_database_name(project: str, suffix: str | None = None) -> str:
    """Return `{project}-agentruntime-{6 of a-z0-9}`, the project's part cut so that 30 characters are enough."""
    room = MAX_CLUSTER_NAME_LENGTH - len(_DATABASE_INFIX) - _SUFFIX_LENGTH
    return f"{project[:room].rstrip('-')}{_DATABASE_INFIX}{suffix or _suffix()}"


def build_sandbox_name(project: str, suffix: str | None = None) -> str:
    """Return `{project}-sandbox-{6 of a-z0-9}`: at most 35 characters, so that what derives from it fits in 63."""
    return f"{project[:MAX_KUBERNETES_NAME_LENGTH].rstrip('-')}{_SANDBOX_INFIX}{suffix or _suffix()}"


# As a merge patch sends them: whose object it was is said no more.
RELEASED_LABELS: Mapping[str, None] = dict.fromkeys((PROJECT_LABEL, PROJECT_ID_LABEL, ORIGIN_LABEL))


def claim_labels(project: str, uid: UUID) -> dict[str, str]:
    """Return the labels that say whose an object is, whoever made it."""
    return {PROJECT_LABEL: project, PROJECT_ID_LABEL: str(uid)}


def owner_labels(project: str, uid: UUID) -> dict[str, str]:
    """Return the labels of an object that the panel makes."""
    return {MANAGED_BY_LABEL: MANAGER, **claim_labels(project, uid)}


def project_id_of(labels: Mapping[str, str] | None) -> str | None:
    """Return the project id among an object's labels, if the panel put one there."""
    return (labels or {}).get(PROJECT_ID_LABEL) or None


def is_panel_made(labels: Mapping[str, str], *, is_cluster: bool) -> bool:
    """Whether an object's own labels say that the panel made it: the project's label alone says nothing, people copy
    it. Of a Cluster it is its origin, as it has to be told from an adopted one."""
    return labels.get(ORIGIN_LABEL) == "created" if is_cluster else labels.get(MANAGED_BY_LABEL) == MANAGER


def as_uid(label: str | None) -> UUID | None:
    """Return a project id as a uid; None for what is none: anyone may label an object with anything."""
    try:
        return UUID(label or "")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class ExistingCluster:
    """A Cluster as a listing shows it."""

    name: str
    labels: Mapping[str, str]
    is_deleting: bool = False
    is_postgresql: bool = True


class UndecidedClusterError(Exception):
    """A person has to say which cluster is the project's, or that none is; the text says who and how."""


class AmbiguousClusterError(UndecidedClusterError):
    """More than one cluster may be the project's; the panel doesn't guess."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        super().__init__(
            f"More than one database cluster may be this project's: {', '.join(self.names)}. "
            "Someone who may adopt chooses: under Clusters found, or with `manage.py adopt NAME --cluster CLUSTER`."
        )


class AdoptionNeededError(UndecidedClusterError):
    """A cluster that nobody has labelled may be the project's, and who asked for its database may not adopt."""

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(
            f"There is a database cluster {name} in the namespace {namespace} already. By its name or labels it may be "
            "meant for this project, and whoever asked for the database may not adopt it, so nothing was made. Ask "
            "someone who may adopt, such as an Operator, to press Adopt here; or delete this project and add one "
            "under another name, or in another namespace, to get a new database."
        )


def find_existing_cluster(
    clusters: Iterable[ExistingCluster], *, kubernetes_name: str, raw_name: str, uid: UUID, taken: Iterable[str] = ()
) -> ExistingCluster | None:
    """Return the project's cluster among those of its namespace, or None.

    Our own label decides first, then the predecessor's label, then its name patterns in its order: a name that
    starts with `{project}-agentruntime-`, the project's Kubernetes name, its raw name. A cluster that is being
    deleted, is of another engine, is labelled as another project's, or is in `taken` (names that other projects' rows
    hold) never counts.
    Raises AmbiguousClusterError when the first rule that matches matches twice.
    """
    held = set(taken)
    candidates = [
        cluster
        for cluster in clusters
        if not cluster.is_deleting
        and cluster.is_postgresql
        and cluster.name not in held
        and project_id_of(cluster.labels) in (None, str(uid))
    ]
    legacy = legacy_name(raw_name)
    projects = {kubernetes_name, legacy} - {""}
    rules = (
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
    """Return the Kubernetes name of the project that a cluster may be meant for, going by its labels (the
    predecessor's, ours, `app.kubernetes.io/part-of`) and by the predecessor's name pattern; "" if nothing tells."""
    told = (labels.get(label) for label in (LEGACY_PROJECT_LABEL, PROJECT_LABEL, PART_OF_LABEL))
    project, infix, _ = cluster.partition(_DATABASE_INFIX)
    return next(filter(None, told), project if infix else "")


def explain_not_found(project: str, kubernetes_name: str, available: Iterable[str]) -> str:
    """Return the predecessor's sentence for a project without a database."""
    return (
        f"No database cluster found for project {project} (k8s name: {kubernetes_name}). "
        f"Available clusters: {name_some(available)}"
    )


def name_some(names: Iterable[str], most: int = 6) -> str:
    """Return the first names in their order, and how many more there are; "none" where there is none."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(ordered[:most]) or "none") + more
