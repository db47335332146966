"""What the differential test does not compare or send, and why. devcluster/docs/contract.md has the same list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contract.differential.steps import Step

Comparable = dict[str, Any]


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
    Exclusion("null as a value of binary data", "the real server stores it in a form that its next write changes"),
)
