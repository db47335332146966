"""Fault injection: rules that make the API server fail requests, delay them, or break connections."""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from devcluster.apiserver.auth.request_info import RequestInfo

FaultKind = Literal[
    "status",
    "timeout-before",
    "timeout-after",
    "reset-before",
    "reset-after",
    "slow-body",
    "truncated-watch",
    "stale-list",
    "watch-gone",
    "delay",
]
"""
status           no effect; the response is `status` (429 with Retry-After, 500, 503 …)
timeout-before   no effect; 504 after `seconds`
timeout-after    the request takes effect; 504 after `seconds`
reset-before     no effect; the connection is reset
reset-after      the request takes effect; the connection is reset
slow-body        the response arrives in pieces over `seconds`
truncated-watch  a watch ends in the middle of an event
stale-list       a list returns the state at the time at which the rule was added
watch-gone       a watch sends an ERROR event 410 Expired and ends
delay            the request is handled `seconds` later
"""


_ONLY_VERB = {"stale-list": "list", "truncated-watch": "watch", "watch-gone": "watch"}


@dataclass(slots=True)
class Fault:
    """A rule. Empty fields match every request. A rule with `count` ends after that many requests.

    A seeded random generator draws `probability` for each request.
    """

    kind: FaultKind
    verb: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    """A glob such as `aaa-*`, matched against the name in the URL. Lists and creates have no name in the URL."""
    user: str = ""
    status: int = 500
    seconds: float = 1.0
    retry_after_s: int = 1
    count: int | None = None
    probability: float = 1.0
    id: int = 0
    hits: int = 0

    def matches(self, info: RequestInfo, user: str) -> bool:
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return (
            _ONLY_VERB.get(self.kind, info.verb) == info.verb
            and self.verb in ("", "*", info.verb)
            and self.resource in ("", "*", resource)
            and self.namespace in ("", "*", info.namespace)
            and (not self.name or fnmatch.fnmatchcase(info.name, self.name))
            and self.user in ("", "*", user)
        )


@dataclass(slots=True)
class Faults:
    """The rules of one server. Example: `server.faults.add("status", status=503, verb="list", count=2)`."""

    seed: int = 0
    latency_s: float = 0.0
    """Delay of every resource request."""
    rules: list[Fault] = field(default_factory=list)
    revision: int = 0
    """Revision of the store when the newest stale-list rule was added. The server sets it."""
    _random: random.Random = field(init=False)
    _ids: Any = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - to be repeated  # nosec B311
        self._ids = itertools.count(1)

    def add(self, kind: FaultKind, **conditions: Any) -> Fault:
        """Add a rule. ValueError or TypeError for an unknown kind or field."""
        if kind not in get_args(FaultKind):
            raise ValueError(f"There is no fault {kind!r}; known: {', '.join(get_args(FaultKind))}.")
        fault = Fault(kind, **{**conditions, "id": next(self._ids), "hits": 0})
        self.rules.append(fault)
        return fault

    def remove(self, fault_id: int) -> bool:
        kept = [one for one in self.rules if one.id != fault_id]
        found = len(kept) < len(self.rules)
        self.rules = kept
        return found

    def clear(self) -> None:
        self.rules = []
        self.latency_s = 0.0

    def draw(self, info: RequestInfo, user: str) -> Fault | None:
        """Return the first rule that applies to the request, and count the hit."""
        for fault in self.rules:
            if not fault.matches(info, user):
                continue
            if fault.probability < 1.0 and self._random.random() >= fault.probability:
                continue
            fault.hits += 1
            if fault.count is not None and fault.hits >= fault.count:
                self.rules = [one for one in self.rules if one is not fault]
            return fault
        return None

    def describe(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.rules]


class RequestCounts:
    """Number of requests by user, verb and resource. The benchmarks read it."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def note(self, info: RequestInfo, user: str) -> None:
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        self._counts[info.verb, resource or info.path, user] += 1

    def total(self, *, verb: str = "", resource: str = "", user: str = "") -> int:
        return sum(
            count
            for (one_verb, one_resource, one_user), count in self._counts.items()
            if verb in ("", one_verb) and resource in ("", one_resource) and user in ("", one_user)
        )

    def clear(self) -> None:
        self._counts.clear()

    def describe(self) -> list[Mapping[str, Any]]:
        return [
            {"verb": verb, "resource": resource, "user": user, "count": count}
            for (verb, resource, user), count in sorted(self._counts.items())
        ]
