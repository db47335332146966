"""Why a sandbox or a database takes longer than usual: its Pods, volume claims and events. Up to four requests, made
only for what is late."""

from datetime import datetime, timedelta

from django.conf import settings

from projects.models import DatabaseCluster, Sandbox
from provisioning.decisions.cluster_state import (
    OPERATOR_PATIENCE,
    explain_kept,
    explain_unattended,
    is_unattended,
)
from provisioning.decisions.pods import (
    explain_claim,
    explain_deletion_events,
    explain_missing_role,
    find_culprit,
    find_unbound_claim,
    latest_warning,
)
from provisioning.decisions.readiness import Readiness, State
from provisioning.kube.client import Kube
from provisioning.kube.errors import RefusedError
from provisioning.kube.kinds import EVENT, POD, PVC, Kind
from provisioning.objects.credentials import component_of
from provisioning.objects.names import INSTANCE_LABEL
from provisioning.objects.readers import Object, metadata_of, moment, text
from provisioning.reconcile.context import PassContext

# A Pod that is ready within these times is not looked at.
_SANDBOX_PATIENCE = timedelta(seconds=8)
_DATABASE_PATIENCE = timedelta(seconds=20)


def explain_sandbox(context: PassContext, sandbox: Sandbox, now: datetime) -> str:
    """Return why a sandbox is not ready, as sentences; "" while it isn't late, and if nothing says why. Raises
    KubeError."""
    if sandbox.applied_at is None or now - sandbox.applied_at <= _SANDBOX_PATIENCE:
        return ""
    kube, namespace = context.kube, sandbox.namespace
    return _explain(kube, namespace, _list(kube, POD, namespace, sandbox.name), [sandbox.name], now)


def explain_database(context: PassContext, database: DatabaseCluster, cluster: Readiness, now: datetime) -> str:
    """Return why a Cluster is not running, as sentences; "" while it isn't late, and if nothing says why. Raises
    KubeError."""
    if cluster.state not in (State.WAITING, State.FAILED) or not _is_late(database, now):
        return ""
    kube, namespace, name = context.kube, database.namespace, database.name
    pods = _list(kube, POD, namespace, name)
    # KubeBlocks' Component and its InstanceSet have the same name.
    owners = [f"{name}-{component_of(context.snapshot.cluster)}", name]
    return _explain(kube, namespace, pods, owners, now, is_named=True) or explain_missing_role(pods)


def explain_held_deletion(kube: Kube, cluster: Object, now: datetime) -> str:
    """Return why a Cluster whose deletion was requested is still there; "" while it isn't late, and if nothing says
    why. Raises KubeError."""
    deleted_at = moment(metadata_of(cluster).get("deletionTimestamp"))
    if deleted_at is None:
        return ""
    if kept := explain_kept(cluster):
        return kept
    if is_unattended(cluster, now):
        return explain_unattended(cluster, now)
    if now - deleted_at <= OPERATOR_PATIENCE:
        return ""
    namespace, name = (text(metadata_of(cluster).get(key), 253) for key in ("namespace", "name"))
    events = _list(kube, EVENT, namespace, fields=f"involvedObject.name={name}")
    return explain_deletion_events(events, deleted_at)


def _is_late(database: DatabaseCluster, now: datetime) -> bool:
    if database.deadline is None:
        return False
    began_at = database.deadline - timedelta(seconds=settings.READY_TIMEOUT_S)
    return now - began_at > _DATABASE_PATIENCE


def _explain(
    kube: Kube, namespace: str, pods: list[Object], owners: list[str], now: datetime, *, is_named: bool = False
) -> str:
    """`owners`: the names of the objects that create the Pods. `is_named`: name the Pod that is explained."""
    found = find_culprit(pods, now)
    if pods and not found.name:
        return ""
    if not pods or found.waits_for_volume:
        claim = find_unbound_claim(_list(kube, PVC, namespace, owners[-1]))
        if claim is not None:
            name = text(metadata_of(claim).get("name"), 253)
            return explain_claim(claim, _latest_warning(kube, namespace, name))
    if not pods:
        warnings = (_latest_warning(kube, namespace, owner) for owner in owners)
        return f"There is no Pod yet. {next(filter(None, warnings), '')}".strip()
    warning = _latest_warning(kube, namespace, found.name)
    said = f"{found.why} {warning}".strip()
    return f"Pod {found.name}: {said}" if said and is_named else said


def _latest_warning(kube: Kube, namespace: str, name: str) -> str:
    return latest_warning(_list(kube, EVENT, namespace, fields=f"involvedObject.name={name}"))


def _list(kube: Kube, kind: Kind, namespace: str, instance: str = "", fields: str = "") -> list[Object]:
    """Return the objects, none if the panel may not list them: an explanation is not worth a failed pass."""
    try:
        labels = f"{INSTANCE_LABEL}={instance}" if instance else ""
        return kube.list_objects(kind, namespace, labels=labels, fields=fields)
    except RefusedError:
        return []
