"""Sends the same spoiled requests to the embedded cluster and to a real API server, and prints where they differ.

It finds differences that the suite does not cover yet. Every field of a valid object of each built-in kind that matters
is replaced, one at a time, by the values of `kubeblocks.mutations`, as a dry run. Run it as `make replay-contract`, or
for some kinds only as `make replay-contract ARGS='services ingresses'`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

from tests.contract.controlplane import ControlPlane
from tests.contract.kubeblocks import mutations
from tests.contract.objects import GONE, changed, claim, configmap, ingress, role, role_binding, service, statefulset
from tests.contract.targets import open_embedded_target
from tests.support.rest import Access, Answer, Object, Rest

NAMESPACE = "replay"
SERVERS_OWN = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "clusterIP", "clusterIPs"}

KINDS: dict[str, tuple[str, Object]] = {
    "configmaps": ("v1", configmap("a", data={"k": "v"}, immutable=False)),
    "secrets": ("v1", {"metadata": {"name": "s"}, "type": "Opaque", "data": {"k": "MQ=="}, "stringData": {"l": "m"}}),
    "services": ("v1", service("web")),
    "persistentvolumeclaims": ("v1", claim("d")),
    "serviceaccounts": ("v1", {"metadata": {"name": "a"}, "automountServiceAccountToken": False}),
    "statefulsets": ("apps/v1", changed(statefulset("web"), "spec.volumeClaimTemplates", [claim("data")])),
    "ingresses": ("networking.k8s.io/v1", ingress("web")),
    "networkpolicies": (
        "networking.k8s.io/v1",
        {"metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}},
    ),
    "roles": (
        "rbac.authorization.k8s.io/v1",
        role("r", {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["p"], "verbs": ["get"]}),
    ),
    "rolebindings": ("rbac.authorization.k8s.io/v1", role_binding("b", NAMESPACE, "a")),
    "leases": ("coordination.k8s.io/v1", {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 15}}),
    "poddisruptionbudgets": (
        "policy/v1",
        {"metadata": {"name": "p"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
    ),
    "resourcequotas": ("v1", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "3"}}}),
}


def replay(embedded: Rest, real: Rest, plural: str) -> Counter[str]:
    """Print each difference in one kind; returns how many there are in status, in causes, in text, in the object."""
    group_version, body = KINDS[plural]
    root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
    path = f"{root}/namespaces/{NAMESPACE}/{plural}"
    found: Counter[str] = Counter()
    for field, value in mutations(body):
        spoiled = changed(body, field, value)
        ours, theirs = (server.post(path, spoiled, dryRun="All") for server in (embedded, real))
        difference = _difference(ours, theirs)
        if difference is not None:
            found[difference] += 1
            how = "removed" if value is GONE else f"= {value!r}"
            _say(f"{difference}: {plural} {field} {how}\n  embedded {_told(ours)}\n  real     {_told(theirs)}")
    return found


def _difference(ours: Answer, theirs: Answer) -> str | None:
    if ours.status != theirs.status:
        return "status"
    if ours.status < 400:
        return "object" if _comparable(ours) != _comparable(theirs) or ours.warnings != theirs.warnings else None
    if ours.reason != theirs.reason or [c.field for c in ours.causes] != [c.field for c in theirs.causes]:
        return "causes"
    return "text" if ours.message != theirs.message else None


def _comparable(answer: Answer) -> str:
    """Return an object without the values that each server generates."""

    def stripped(value: object) -> object:
        if isinstance(value, dict):
            return {key: stripped(child) for key, child in value.items() if key not in SERVERS_OWN}
        return [stripped(child) for child in value] if isinstance(value, list) else value

    return json.dumps(stripped(answer.body), sort_keys=True)


def _told(answer: Answer) -> str:
    text = answer.message if answer.status >= 400 else _comparable(answer)
    return f"{answer.status} {answer.reason or ''} {re.sub('x{40,}', 'x…', text)[:300]}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Replay spoiled requests on the embedded cluster and on a real one.")
    parser.add_argument("plural", nargs="*", help=f"kinds to replay, of {', '.join(KINDS)} (default: all)")
    plurals = parser.parse_args().plural or list(KINDS)
    total: Counter[str] = Counter()
    with ControlPlane(Path(os.environ["KUBEBUILDER_ASSETS"])) as plane, open_embedded_target() as target:
        embedded = Rest(target.access)
        real = Rest(Access(plane.url, token=plane.admin_token, ca_file=str(plane.ca_file)))
        for server in (embedded, real):
            server.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for plural in plurals:
            total += replay(embedded, real, plural)
        embedded.close()
        real.close()
    _say(", ".join(f"{count} in {what}" for what, count in total.items()) or "no difference")
    return 1 if total else 0


if __name__ == "__main__":
    raise SystemExit(main())
