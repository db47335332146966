"""Judges whether a cluster is the one that the panel's state belongs to, by the UIDs of its namespaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

# Exists in every cluster, and is never created again.
KUBE_SYSTEM = "kube-system"


class Identity(Enum):
    """What the UIDs say: the same cluster, another one, none recorded yet, or nothing to compare."""

    OWN = "own"
    OTHER = "other"
    NEW = "new"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class IdentityJudgment:
    """`namespace`: the one whose UIDs were compared; "" where none could be."""

    identity: Identity
    namespace: str = ""


def judge_identity(recorded: Mapping[str, str], seen: Mapping[str, str]) -> IdentityJudgment:
    """Compare recorded and seen UIDs, by namespace. In `seen`, a namespace that doesn't exist has "", and one that
    can't be read is missing. Another namespace than kube-system counts only where kube-system can't be compared: it may
    be deleted and created again."""
    if KUBE_SYSTEM in recorded and KUBE_SYSTEM in seen:
        is_same = recorded[KUBE_SYSTEM] == seen[KUBE_SYSTEM]
        return IdentityJudgment(Identity.OWN if is_same else Identity.OTHER, KUBE_SYSTEM)
    compared = sorted(recorded.keys() & seen.keys())
    for namespace in compared:
        if recorded[namespace] != seen[namespace]:
            return IdentityJudgment(Identity.OTHER, namespace)
    if compared:
        return IdentityJudgment(Identity.OWN, compared[0])
    found = next((name for name in (KUBE_SYSTEM, *sorted(seen)) if seen.get(name)), "")
    if recorded or not found:
        return IdentityJudgment(Identity.UNKNOWN)
    return IdentityJudgment(Identity.NEW, found)


def explain_other(judgment: IdentityJudgment, recorded: Mapping[str, str], seen: Mapping[str, str], host: str) -> str:
    """Return what a pass, a watch or a command says instead of using another cluster."""
    name = judgment.namespace
    now = f"has the UID {seen[name]}" if seen.get(name) else "does not exist"
    recreated = "" if name == KUBE_SYSTEM else ", or the namespace was deleted with everything in it"
    return (
        f"The cluster at {host} is not the one that the panel's state belongs to{recreated}: the namespace {name} "
        f"{now}, and {recorded[name]} is recorded. The panel reads and changes nothing there. Correct KUBECONFIG or "
        "KUBE_CONTEXT, or use another database for this cluster. To move the state to this cluster on purpose, run "
        "`manage.py accept_cluster`."
    )
