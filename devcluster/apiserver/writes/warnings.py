"""Warnings about accepted objects with questionable values."""

from __future__ import annotations

from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.schema.quantities import value_of
from devcluster.apiserver.schema.resources import ResourceType

_BYTES = ("memory", "ephemeral-storage")
_TEMPLATED = {"statefulsets.apps", "deployments.apps", "replicasets.apps", "daemonsets.apps", "jobs.batch"}


def advise(kind: ResourceType, body: JsonObject) -> list[str]:
    """Return warnings about fractions of bytes in claims and containers."""
    if not kind.builtin:
        return []
    spec = body.get("spec") or {}
    if kind.table == "persistentvolumeclaims":
        return _claim_warnings(spec, "spec")
    warnings: list[str] = []
    if kind.table == "statefulsets.apps":
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            warnings += _claim_warnings(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    if kind.table in _TEMPLATED:
        warnings += _pod_warnings((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")
    elif kind.table == "pods":
        warnings += _pod_warnings(spec, "spec")
    return warnings


def _claim_warnings(spec: JsonObject, field: str) -> list[str]:
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return _fraction(amount, f"{field}.resources.requests[storage]") if amount is not None else []


def _pod_warnings(spec: JsonObject, field: str) -> list[str]:
    warnings: list[str] = []
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(kind) or ()):
            resources = container.get("resources") or {}
            for part in ("limits", "requests"):
                for name, amount in (resources.get(part) or {}).items():
                    if name in _BYTES:
                        warnings += _fraction(amount, f"{field}.{kind}[{index}].resources.{part}[{name}]")
    return warnings


def _fraction(amount: str, field: str) -> list[str]:
    if value_of(amount).denominator == 1:
        return []
    return [f'{field}: fractional byte value "{amount}" is invalid, must be an integer']
