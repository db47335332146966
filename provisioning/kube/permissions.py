"""Verbs that the panel uses in the namespaces of its projects. deploy/base/role.yaml grants exactly these."""

from provisioning.kube.kinds import (
    EVENT,
    INGRESS,
    LIMIT_RANGE,
    NAMESPACE,
    POD,
    PVC,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    STATEFULSET,
    Kind,
)

Permissions = dict[Kind, frozenset[str]]

# Server-side apply needs create as well as patch.
_APPLIED = frozenset({"create", "delete", "get", "list", "patch"})
_WATCHED = frozenset({"list", "watch"})


def needed_permissions(cluster: Kind, component: str = "") -> Permissions:
    """Return the verbs of a component ("queue", "watcher") by kind, or of both together for "".

    `cluster` is the kind of KubeBlocks' Clusters that is served. The web server needs none.
    """
    queue: Permissions = {
        cluster: _APPLIED,
        SECRET: _APPLIED - {"get"},
        SERVICE: _APPLIED,
        STATEFULSET: _APPLIED,
        INGRESS: _APPLIED - {"get"},
        PVC: frozenset({"delete", "list"}),
        POD: frozenset({"list"}),
        EVENT: frozenset({"list"}),
        NAMESPACE: frozenset({"get"}),
        RESOURCE_QUOTA: frozenset({"list"}),
        LIMIT_RANGE: frozenset({"list"}),
    }
    watcher: Permissions = dict.fromkeys((cluster, SECRET, STATEFULSET), _WATCHED) | {NAMESPACE: frozenset({"get"})}
    match component:
        case "queue":
            return queue
        case "watcher":
            return watcher
        case "web":
            return {}
        case _:
            return {kind: verbs | watcher.get(kind, frozenset()) for kind, verbs in queue.items()}
