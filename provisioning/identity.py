"""The cluster that the panel's state belongs to: recorded at the first contact, compared before it is read.

With another KUBECONFIG and the same state, every object would look deleted. So passes, watches, inventories and
commands connect through this module, and another cluster is refused.
"""

import time
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import transaction

from projects.models import DatabaseCluster, Sandbox
from provisioning.decisions.cluster_identity import (
    KUBE_SYSTEM,
    Identity,
    IdentityJudgment,
    explain_other,
    judge_identity,
)
from provisioning.kube.client import Kube, connect
from provisioning.kube.errors import KubeError, RefusedError
from provisioning.kube.kinds import NAMESPACE
from provisioning.models import ClusterIdentity
from provisioning.objects.readers import uid_of
from provisioning.objects.refusals import Cause

# How long a comparison counts. A decision that something is gone compares again.
_COMPARED_FOR_S = 2.0
_compared_at_s: WeakKeyDictionary[Kube, float] = WeakKeyDictionary()


class OtherClusterError(KubeError):
    """The API server is that of another cluster than the state belongs to."""


def connect_to_own_cluster() -> Kube:
    """Return the client of this process. Raises KubeError, OtherClusterError for another cluster."""
    kube = connect()
    prove_own_cluster(kube)
    return kube


def prove_own_cluster(kube: Kube, *, is_fresh: bool = False) -> None:
    """Compare the cluster's identity with the recorded one, or record it at the first contact. With `is_fresh`, compare
    now, however recent the last comparison is. Raises KubeError, OtherClusterError for another cluster."""
    now_s = time.monotonic()
    if not is_fresh and now_s - _compared_at_s.get(kube, -_COMPARED_FOR_S) < _COMPARED_FOR_S:
        return
    recorded = read_recorded()
    seen = _read_uids(kube, [KUBE_SYSTEM])
    if not seen.get(KUBE_SYSTEM) or KUBE_SYSTEM not in recorded:
        seen |= _read_uids(kube, {*recorded, settings.KUBE_NAMESPACE} - {KUBE_SYSTEM})
    judgment = judge_identity(recorded, seen)
    match judgment.identity:
        case Identity.NEW:
            # Another process may have been first, with another cluster.
            recorded = _record(seen)
            judgment = judge_identity(recorded, seen)
        case Identity.OWN if seen.keys() - recorded:
            _record(seen)
        case Identity.OWN if is_fresh and judgment.namespace == KUBE_SYSTEM:
            _follow_recreated(recorded, _read_uids(kube, recorded.keys() - {KUBE_SYSTEM}))
        case Identity.OTHER if _is_unused():
            accept(seen)
            judgment = judge_identity(seen, seen)
    if judgment.identity is Identity.OTHER:
        raise OtherClusterError(explain_other(judgment, recorded, seen, kube.host))
    _compared_at_s[kube] = now_s


def read_recorded() -> dict[str, str]:
    """Return the recorded UIDs by namespace. Empty before the first contact."""
    return dict(ClusterIdentity.objects.values_list("namespace", "uid"))


def look(kube: Kube) -> tuple[IdentityJudgment, dict[str, str], dict[str, str]]:
    """Return the judgment, the recorded and the seen UIDs. Records nothing. Raises KubeError."""
    recorded = read_recorded()
    seen = _read_uids(kube, [KUBE_SYSTEM, *sorted({*recorded, settings.KUBE_NAMESPACE} - {KUBE_SYSTEM})])
    return judge_identity(recorded, seen), recorded, seen


def _is_unused() -> bool:
    """Whether nothing was ever created with this state, so that nothing can look deleted."""
    return not DatabaseCluster.objects.exists() and not Sandbox.objects.exists()


def accept(seen: dict[str, str]) -> None:
    """Record that the state belongs to the cluster with these UIDs from now on."""
    with transaction.atomic():
        ClusterIdentity.objects.all().delete()
        _record(seen)


def _record(seen: dict[str, str]) -> dict[str, str]:
    """Record UIDs that aren't recorded yet; return what is recorded then. Another process may have been first."""
    for namespace, uid in seen.items():
        if uid:
            ClusterIdentity.objects.get_or_create(namespace=namespace, defaults={"uid": uid})
    return read_recorded()


def _follow_recreated(recorded: dict[str, str], seen: dict[str, str]) -> None:
    """Record the UIDs of namespaces that were created again in the same cluster, for accounts that compare these."""
    for namespace, uid in seen.items():
        if uid and uid != recorded[namespace]:
            ClusterIdentity.objects.filter(namespace=namespace).update(uid=uid)


def _read_uids(kube: Kube, namespaces: Iterable[str]) -> dict[str, str]:
    """Return the UIDs of the namespaces that the account may read, "" for those that don't exist. Raises KubeError."""
    found = {}
    for namespace in namespaces:
        try:
            found[namespace] = uid_of(kube.get_or_none(NAMESPACE, None, namespace) or {})
        except RefusedError as error:
            if error.cause is Cause.NAMESPACE_MISSING:
                found[namespace] = ""
            elif error.cause is not Cause.NO_PERMISSION:
                raise
    return found
