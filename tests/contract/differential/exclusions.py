"""What the differential test does not compare or send, and why. devcluster/docs/contract.md has the same list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contract.differential.steps import Step

Comparable = dict[str, Any]


def _creates_by_status(step: Step, real: Comparable) -> bool:
    return step.subresource == "status" and real["status"] == 201


@dataclass(frozen=True)
class Exclusion:
    what: str
    why: str
    ends: Callable[[Step, Comparable], bool] = lambda step, real: False
    """Whether the sequence ends at a step, without a comparison, by the answer of the real server."""


EXCLUSIONS = (
    Exclusion("texts of messages and warnings", "the contract suite compares the texts that matter"),
    Exclusion("order of causes", "the real server reports the entries of a map in random order"),
    Exclusion("order of managedFields entries", "it depends on the second in which each entry was written"),
    Exclusion(
        "values that a server makes up (uids, times, cluster IPs, node ports, generated names)",
        "only whether they stay the same is compared",
    ),
    Exclusion(
        "what the controllers of workloads write",
        "the real control plane runs without them, as the embedded API server does",
    ),
    Exclusion(
        "whether a Role without rules has null or an empty list",
        "the real server gives either, by the kind of the request",
    ),
    Exclusion(
        "resourceVersions and finalizers of claims",
        "the first write of a claim stores its phase, and a controller restores its finalizer a moment later",
    ),
    Exclusion(
        "null in a list of a JSON patch's test or of a strategic merge patch", "the real server breaks the connection"
    ),
    Exclusion(
        "Services of another type than ClusterIP, and given cluster IPs",
        "the embedded API server has only a part of the rules for changes between them",
    ),
    Exclusion(
        "a Service that an apply to its status creates",
        "the real server gives it no address",
        _creates_by_status,
    ),
    Exclusion(
        "empty labels, annotations and finalizers of custom resources",
        "the real server stores them, and drops them with the next write",
    ),
    Exclusion(
        "fractions for integers of custom resources",
        "the real server reports the fault of its conversion for CEL rules, too",
    ),
    Exclusion(
        "booleans, lists and objects for amounts of custom resources",
        "the real server reports each schema of an anyOf that they don't match",
    ),
    Exclusion(
        "objects that a ResourceQuota of the same sequence counts",
        "the real server charges creates that it then refuses, until its controller counts again",
    ),
    Exclusion(
        "Pods, Deployments, LimitRanges",
        "their vocabulary is written or begun, and finds differences that are not mended yet",
    ),
    Exclusion("null as a value of binary data", "the real server stores it in a form that its next write changes"),
)
