"""The inventory of Clusters that belong to no project. Two LIST requests per namespace."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from projects.domain.namespaces import allowed_namespaces
from projects.domain.states import DesiredState, Phase, Reason
from projects.models import DatabaseCluster, FoundCluster, Inventory, Orphan, Project, Sandbox
from projects.services.inventory import request_inventory
from projects.services.queue import enqueue_passes_by_uid
from provisioning.identity import connect_to_own_cluster
from provisioning.inventory.orphans import look_for_orphans
from provisioning.kube.client import Kube, disconnect
from provisioning.kube.errors import KubeError, RefusedError
from provisioning.kube.kinds import SECRET, cluster_kind
from provisioning.objects.credentials import choose_secret, component_of, is_complete
from provisioning.objects.names import (
    INSTANCE_LABEL,
    LEGACY_PROJECT_LABEL,
    PROJECT_ID_LABEL,
    PROJECT_LABEL,
    as_uid,
    guess_project,
    project_id_of,
)
from provisioning.objects.readers import Object, labels_of, mapping, metadata_of, objects, text, uid_of
from provisioning.objects.refusals import Cause

logger = logging.getLogger(__name__)

# Much longer than two requests per namespace take. A run that died blocks others no longer than this.
_LONGEST_RUN = timedelta(seconds=90)
# Names that fit into the URL of one request.
_NAMES_A_REQUEST = 50
_LABELS_KEPT = 6
# Longer names can't be label values, so KubeBlocks can't label what belongs to such a Cluster.
_LONGEST_NAME = 63
# Label domains of KubeBlocks and Kubernetes, which don't say to whom a Cluster belongs.
_TOLD_NOTHING = ("kubeblocks.io", "kubernetes.io/managed-by", "kubernetes.io/instance")


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What an adoption needs to know about a Cluster."""

    namespace: str
    name: str
    uid: str
    api_version: str
    phase: str = ""
    version: str = ""
    engine: str = ""
    created_at: datetime | None = None
    is_deleting: bool = False
    owner: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Secret:
    note: str
    is_complete: bool


def read_facts(cluster: Object) -> ClusterFacts:
    """Return the facts about a Cluster of either API generation."""
    metadata, spec = metadata_of(cluster), mapping(cluster.get("spec"))
    component = next(iter(objects(spec.get("componentSpecs"))), {})
    labels = labels_of(cluster)
    engines = (
        spec.get("clusterDef"),
        spec.get("clusterDefinitionRef"),
        labels.get("clusterdefinition.kubeblocks.io/name"),
        component.get("componentDef"),
        component.get("componentDefRef"),
    )
    versions = (component.get("serviceVersion"), spec.get("clusterVersionRef"))
    return ClusterFacts(
        namespace=text(metadata.get("namespace"), 63),
        name=text(metadata.get("name"), 253),
        uid=uid_of(cluster),
        api_version=text(cluster.get("apiVersion"), 60),
        phase=text(mapping(cluster.get("status")).get("phase"), 30),
        version=next((text(version, 60) for version in versions if text(version)), ""),
        engine=next((text(engine, 60) for engine in engines if text(engine)), ""),
        created_at=_moment(metadata.get("creationTimestamp")),
        is_deleting=bool(metadata.get("deletionTimestamp")),
        owner=project_id_of(labels),
        labels=labels,
    )


def _moment(value: Any) -> datetime | None:
    """Return the time in `value` in UTC, or None if it is unreadable or outside the calendar."""
    try:
        moment = parse_datetime(text(value))
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def explain_obstacle(facts: ClusterFacts, claimant: Project | None) -> str:
    """Return why no project can adopt the Cluster, and what to do; "" if one can.

    `claimant` is the project of this panel whose label the Cluster has, if any.
    """
    if facts.is_deleting:
        return f"The cluster {facts.name} is being deleted, so it can't be adopted."
    if len(facts.name) > _LONGEST_NAME:
        return f"The name of the cluster has more than {_LONGEST_NAME} characters, which the panel does not support."
    if facts.engine and "postgres" not in facts.engine:
        return f"The cluster {facts.name} runs {facts.engine}; the panel adopts PostgreSQL only."
    if facts.owner is None:
        return ""
    if claimant is None:
        whose = facts.labels.get(PROJECT_LABEL) or "a project"
        return (
            f"The cluster {facts.name} has the label of {whose}, which this panel does not know. It may belong to "
            "another panel. If that panel is gone, release the cluster under Orphaned objects; then it can be adopted."
        )
    if claimant.desired_state == DesiredState.DELETED:
        return (
            f"The cluster {facts.name} has the label of the project {claimant.name}, which is deleted. To keep it, "
            "release it under Orphaned objects; then it can be adopted."
        )
    return ""


def find_claimant(facts: ClusterFacts) -> Project | None:
    """Return the project of this panel whose label the Cluster has, deleted or not."""
    uid = as_uid(facts.owner)
    return Project.objects.filter(uid=uid).first() if uid else None


def take_inventory(now: datetime) -> None:
    """Store a row for each Cluster without a project and for each orphaned object, delete outdated rows, and enqueue
    passes for settled projects with drift.

    One run at a time; a request during a run starts another one afterwards. The Inventory row says what couldn't be
    read, and the rows of such a namespace are kept.
    """
    free = Q(running_until=None) | Q(running_until__lte=now)
    Inventory.objects.get_or_create(pk=Inventory.PK)
    until = now + _LONGEST_RUN
    if not Inventory.objects.filter(free, pk=Inventory.PK).update(queued_at=None, running_until=until):
        Inventory.objects.filter(pk=Inventory.PK).update(queued_at=None)
        return
    trouble = "The last inventory failed with an internal error. See the log of the queue."
    try:
        trouble = _look(now)
    finally:
        seen = {"looked_at": now, "trouble": trouble, **({} if trouble else {"complete_at": now})}
        Inventory.objects.filter(pk=Inventory.PK, running_until=until).update(running_until=None, **seen)
    row = Inventory.objects.get(pk=Inventory.PK)
    if row.is_awaited and row.queued_at is None:
        request_inventory(timezone.now())


def watched_namespaces() -> list[str]:
    """Return the namespaces of existing projects and those that new ones may be in."""
    present = Project.objects.present().order_by().values_list("namespace", flat=True).distinct()
    return sorted({*present, *allowed_namespaces()} - {""})


def _look(now: datetime) -> str:
    """Read each namespace; return what couldn't be read, "" if everything was."""
    troubles: list[str] = []
    namespaces = watched_namespaces()
    FoundCluster.objects.exclude(namespace__in=namespaces).delete()
    try:
        kube = connect_to_own_cluster()
        kind = cluster_kind(kube.cluster_api_version())
    except KubeError as error:
        disconnect()
        return str(error)
    expected = {*namespaces, *_abandoned_namespaces()}
    everywhere = sorted({*expected, *_former_namespaces()})
    Orphan.objects.exclude(namespace__in=everywhere).delete()
    for namespace in everywhere:
        try:
            clusters = kube.list_objects(kind, namespace)
            if namespace in namespaces:
                _look_into(kube, clusters, namespace, now)
            drifted = look_for_orphans(kube, clusters, namespace, now)
            enqueue_passes_by_uid(sorted(drifted), now=now)
        except RefusedError as error:
            if error.code == 401:
                disconnect()
            # The panel may have lost the permission for a namespace in which it has nothing.
            if namespace in expected or error.cause is not Cause.NO_PERMISSION:
                troubles.append(f"{namespace}: {error}")
        except KubeError as error:
            disconnect()
            return str(error)
    return " ".join(dict.fromkeys(troubles))


def _abandoned_namespaces() -> set[str]:
    """Return the namespaces in which a forgotten project may have left objects."""
    forgotten = Project.objects.filter(phase=Phase.DELETED, reason=Reason.FORGOTTEN).order_by()
    return set(forgotten.values_list("namespace", flat=True).distinct())


def _former_namespaces() -> set[str]:
    """Return the namespaces in which a project ever had objects. A late request, or a copied label, may have left an
    object there."""
    return {
        namespace
        for model in (DatabaseCluster, Sandbox)
        for namespace in model.objects.order_by().values_list("namespace", flat=True).distinct()
    }


def _look_into(kube: Kube, found: Iterable[Object], namespace: str, now: datetime) -> None:
    """Update the rows of one namespace's Clusters. Raises KubeError before anything is written."""
    listed = {text(metadata_of(item).get("name"), 253): item for item in found}
    clusters = {name: listed[name] for name in sorted(listed.keys() - {"", *_owned_names(namespace)})}
    secrets = _list_secrets(kube, namespace, list(clusters))
    claimants = _claimants(clusters.values())
    rows = []
    for name, item in clusters.items():
        facts = replace(read_facts(item), namespace=namespace, name=name)
        rows.append(_build_row(facts, _judge_secret(item, secrets), claimants, now))
    with transaction.atomic():
        # Check again: one of them may have been adopted during the requests.
        owned = set(_owned_names(namespace))
        rows = [row for row in rows if row.name not in owned]
        names = [row.name for row in rows]
        FoundCluster.objects.filter(namespace=namespace).exclude(name__in=names).delete()
        FoundCluster.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["namespace", "name"],
            update_fields=[
                field.name
                for field in FoundCluster._meta.concrete_fields
                if field.name not in ("id", "namespace", "name")
            ],
        )


def _owned_names(namespace: str) -> Iterable[str]:
    return DatabaseCluster.objects.filter(namespace=namespace, retired_at=None).values_list("name", flat=True)


def _claimants(clusters: Iterable[Object]) -> dict[str, Project]:
    """Return the projects of this panel, deleted or not, whose labels the Clusters have, by uid."""
    uids = filter(None, (as_uid(project_id_of(labels_of(item))) for item in clusters))
    return {str(project.uid): project for project in Project.objects.filter(uid__in=set(uids))}


def _list_secrets(kube: Kube, namespace: str, names: list[str]) -> dict[str, list[Object]]:
    """Return KubeBlocks' Secrets of these Clusters, by Cluster."""
    found: dict[str, list[Object]] = {name: [] for name in names}
    for start in range(0, len(names), _NAMES_A_REQUEST):
        instances = ",".join(sorted(names[start : start + _NAMES_A_REQUEST]))
        selector = f"app.kubernetes.io/managed-by=kubeblocks,{INSTANCE_LABEL} in ({instances})"
        for secret in kube.list_objects(SECRET, namespace, labels=selector):
            found.setdefault(labels_of(secret).get(INSTANCE_LABEL, ""), []).append(secret)
    return found


def _judge_secret(cluster: Object, secrets: Mapping[str, list[Object]]) -> _Secret:
    """Say whether the Cluster's credentials are there. Nothing of their values is kept."""
    name = text(metadata_of(cluster).get("name"), 253)
    secret = choose_secret(secrets.get(name, []), name, component_of(cluster))
    if secret is None:
        return _Secret("No Secret with credentials", False)
    secret_name = text(metadata_of(secret).get("name"))
    if not is_complete(secret):
        return _Secret(f"{secret_name} is incomplete", False)
    return _Secret(secret_name, True)


def _build_row(facts: ClusterFacts, secret: _Secret, claimants: Mapping[str, Project], now: datetime) -> FoundCluster:
    claimant = claimants.get(facts.owner or "")
    return FoundCluster(
        namespace=facts.namespace,
        name=facts.name,
        uid=facts.uid,
        api_version=facts.api_version,
        phase=facts.phase,
        version=facts.version,
        created_at=facts.created_at,
        hint=guess_project(facts.name, facts.labels)[:63],
        labels=_telling_labels(facts.labels),
        secret_note=secret.note,
        has_credentials=secret.is_complete,
        claimed_by=facts.owner or "",
        obstacle=explain_obstacle(facts, claimant),
        seen_at=now,
    )


def _telling_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that people set, those that name a project first."""
    ours = (LEGACY_PROJECT_LABEL, PROJECT_LABEL)
    told = [key for key in sorted(labels) if not any(part in key for part in _TOLD_NOTHING)]
    told.sort(key=lambda key: (key not in ours, "project" not in key))
    return {key: labels[key][:100] for key in told[:_LABELS_KEPT] if key != PROJECT_ID_LABEL}
