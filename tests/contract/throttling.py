"""Makes an API server answer one user with 429: a real one by priority and fairness, the embedded one by a fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tests.support.rest import Access, Object, Rest

NAME = "contract-throttle"
OCCUPANT = "contract-occupant"
FLOW_CONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Throttle(Protocol):
    def __call__(self, user: str) -> AbstractContextManager[None]:
        """Within the context, requests of `user` are answered with 429, soon after its start."""


def fault_throttle(access: Access) -> Throttle:
    """Throttle the embedded server with a fault rule."""

    @contextmanager
    def throttle(user: str) -> Iterator[None]:
        admin = Rest(access)
        try:
            admin.create("/devcluster/faults", {"user": user, "kind": "status", "status": 429})
            yield
        finally:
            admin.delete("/devcluster/faults")
            admin.close()

    return throttle


def flow_schema_throttle(access: Access) -> Throttle:
    """Throttle a real server: `user` shares a priority level without seats with an occupant, who keeps it busy.

    A level always lets one request through when none is running, however few seats it has, so there has to be one:
    a list at a resource version of the future, which the server holds for three seconds.
    """

    @contextmanager
    def throttle(user: str) -> Iterator[None]:
        made = _objects(user)
        admin = Rest(access)
        over = threading.Event()
        occupants = [threading.Thread(target=_occupy, args=(access, over)) for _ in range(2)]
        try:
            for collection, body in made:
                admin.create(collection, body)
            for occupant in occupants:
                occupant.start()
            yield
        finally:
            over.set()
            for occupant in occupants:
                if occupant.ident is not None:
                    occupant.join()
            for collection, body in reversed(made):
                admin.delete(f"{collection}/{body['metadata']['name']}")
            admin.close()

    return throttle


def _occupy(access: Access, over: threading.Event) -> None:
    rest = Rest(access)
    while not over.is_set():
        rest.call(
            "GET",
            "/api/v1/configmaps",
            params={"resourceVersion": "999999999", "limit": 1},
            headers={"Impersonate-User": OCCUPANT},
        )
        over.wait(0.01)
    rest.close()


def _objects(user: str) -> list[tuple[str, Object]]:
    """Return the objects that throttle `user`, as (collection, body), in order of creation."""
    limit = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    flow = {
        "priorityLevelConfiguration": {"name": NAME},
        "matchingPrecedence": 2,
        "rules": [
            {
                "subjects": [{"kind": "User", "user": {"name": name}} for name in (user, OCCUPANT)],
                "resourceRules": [everything],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }
        ],
    }
    metadata = {"name": NAME}
    listing = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    binding = {
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": OCCUPANT}],
    }
    return [
        (f"{RBAC}/clusterroles", {"metadata": metadata, "rules": [listing]}),
        (f"{RBAC}/clusterrolebindings", binding),
        (
            f"{FLOW_CONTROL}/prioritylevelconfigurations",
            {"metadata": metadata, "spec": {"type": "Limited", "limited": limit}},
        ),
        (f"{FLOW_CONTROL}/flowschemas", {"metadata": metadata, "spec": flow}),
    ]
