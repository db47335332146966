"""The two servers: namespaces, sending of steps, and waiting until both have settled."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import urllib3

from tests.contract.differential.compare import Normalizer, differences
from tests.contract.differential.exclusions import EXCLUSIONS
from tests.contract.differential.steps import Step, edited
from tests.contract.differential.vocabulary import KINDS, Kind
from tests.contract.differential.vocabulary.custom import DEFINITIONS, definitions
from tests.support.rest import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Answer,
    Object,
    Rest,
)

LAST = "zz-last"
"""Name of the object that ends a watch."""
SEQUENCE_DEADLINE_S = 60.0
SETTLE_DEADLINE_S = 8.0
_PATCHES = {
    "apply": APPLY_PATCH, "json-patch": JSON_PATCH, "merge-patch": MERGE_PATCH, "strategic-patch": STRATEGIC_PATCH,
}  # fmt: skip
_REFERENCE = re.compile(r"\$(uid|version|first-version):([a-z]+/[a-z0-9-]+)")


class StuckError(Exception):
    """A request or an effect did not come to an end; the text says which."""


@dataclass
class Difference:
    """The first difference of a sequence, at step `index`."""

    index: int
    step: Step
    texts: list[str]

    @property
    def signature(self) -> tuple[str, ...]:
        """The kind of difference: verb, resource, and the field without names and numbers."""
        first = self.texts[0]
        path, _, values = first.partition(": ")
        if "/status" in path or "/reason" in path:
            path += values
        return self.step.verb, self.step.plural, self.step.subresource, re.sub(r"/\d+", "/#", path)


@dataclass
class Session:
    """What is known of one server during a sequence."""

    rest: Rest
    namespace: str
    normalizer: Normalizer = field(default_factory=Normalizer)
    known: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """For each object, uid and resourceVersion of every sight of it."""
    beginnings: dict[str, str] = field(default_factory=dict)
    """For each kind that is watched, the resourceVersion at which the sequence begins."""

    def send(self, step: Step) -> Answer:
        """Send the request of a step. For an update, read the object and edit it first; a 404 of that is the answer."""
        kind = KINDS[step.plural]
        path = kind.path(self.namespace, step.name, step.subresource)
        if step.verb == "update":
            found = self.rest.get(path)
            if found.status != 200:
                return found
            body = edited(found.body, self._resolved(step.body))
            return self._noted(step, self.rest.put(path, body, **step.params))
        body = self._resolved(step.body)
        match step.verb:
            case "create":
                answer = self.rest.post(kind.path(self.namespace), body, **step.params)
            case "delete":
                answer = self.rest.delete(path, body, **step.params)
            case "delete-collection":
                answer = self.rest.delete(kind.path(self.namespace), body, **step.params)
            case "get":
                answer = self.rest.get(path, **step.params)
            case "list":
                answer = self.rest.get(kind.path(self.namespace), **step.params)
            case "watch":
                answer = self._watched(kind)
            case _:
                answer = self.rest.patch(path, body, _PATCHES[step.verb], **step.params)
        return self._noted(step, answer)

    def _watched(self, kind: Kind) -> Answer:
        """Return the events since the beginning of the sequence, up to that of a last object made for this."""
        body = {**kind.typed, "metadata": {"name": LAST}, **kind.base}
        made = self.rest.post(kind.path(self.namespace), body)
        if made.status != 201:
            return made
        events = []
        with self.rest.watch(
            kind.path(self.namespace), timeout_s=5, resourceVersion=self.beginnings[kind.plural]
        ) as stream:
            for event in stream:
                events.append(event)
                if event["object"]["metadata"].get("name") == LAST:
                    break
        return Answer(200, {}, json.dumps({"events": events}))

    def _noted(self, step: Step, answer: Answer) -> Answer:
        if step.name and answer.status < 300 and "dryRun" not in step.params:
            metadata = answer.body.get("metadata") or {}
            if "uid" in metadata:
                seen = self.known.setdefault(f"{step.plural}/{step.name}", [])
                seen.append((metadata["uid"], metadata.get("resourceVersion", "")))
        return answer

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._resolved(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._resolved(one) for one in value]
        return _REFERENCE.sub(self._resolve, value) if isinstance(value, str) else copy.deepcopy(value)

    def _resolve(self, found: re.Match[str]) -> str:
        seen = self.known.get(found[2])
        if not seen:
            return "00000000-0000-0000-0000-000000000000" if found[1] == "uid" else "1"
        uid, version = seen[0 if found[1] == "first-version" else -1]
        return uid if found[1] == "uid" else version


@dataclass
class Pair:
    """The embedded server and the real one."""

    embedded: Rest
    real: Rest
    _clean: dict[str, set[str]] = field(default_factory=dict)
    """Namespaces, with the kinds that a sequence has left objects of."""
    _turn: int = 0

    def prepare(self, namespaces: Sequence[str]) -> None:
        """Install the definitions, create the namespaces, and wait for what controllers put into each."""
        for rest in (self.embedded, self.real):
            for definition in definitions():
                rest.create(DEFINITIONS, definition)
        for name in namespaces:
            for rest in (self.embedded, self.real):
                rest.create("/api/v1/namespaces", {"metadata": {"name": name}})
            self._clean[name] = set()
        for name in namespaces:
            for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
                for rest in (self.embedded, self.real):
                    _await_object(rest, f"/api/v1/namespaces/{name}/{path}")
        for kind in KINDS.values():
            for rest in (self.embedded, self.real):
                _await_object(rest, kind.path(namespaces[0]))
        _await_collector(self.real, namespaces[0])

    def run(self, steps: Sequence[Step]) -> tuple[int, Difference | None, list[dict[str, Any]]]:
        """Send a sequence to both servers. Return the number of requests, the first difference and the real answers."""
        namespaces = list(self._clean)
        namespace = namespaces[self._turn % len(namespaces)]
        self._turn += 1
        self._await_empty(namespace)
        ours, theirs = (Session(rest, namespace) for rest in (self.embedded, self.real))
        for session in (ours, theirs):
            for plural in {step.plural for step in steps if step.verb == "watch"}:
                listed = session.rest.read(KINDS[plural].path(namespace), limit=1)
                session.beginnings[plural] = listed["metadata"]["resourceVersion"]
        started = time.monotonic()
        recorded: list[dict[str, Any]] = []
        try:
            for index, step in enumerate(steps):
                self._clean[namespace].add(step.plural)
                if time.monotonic() - started > SEQUENCE_DEADLINE_S:
                    raise StuckError(f"the sequence takes too long; next was {step.describe()}")
                one, two = self._send(ours, step), self._send(theirs, step)
                comparable = theirs.normalizer.answer(two)
                if any(exclusion.ends(step, comparable) for exclusion in EXCLUSIONS):
                    return index + 1, None, recorded
                recorded.append(comparable)
                texts = list(differences(ours.normalizer.answer(one), comparable))
                if one.status >= 500 and two.status != one.status:
                    texts.insert(0, f"/status: {one.status} of the embedded server")
                if texts:
                    if one.status >= 400:
                        texts.append(f"embedded: {one.text[:700]}")
                    if two.status >= 400:
                        texts.append(f"real: {two.text[:700]}")
                    return index + 1, Difference(index, step, texts), recorded
                self._settle(ours, theirs, step, one)
        finally:
            self._clear(namespace)
        return len(steps), None, recorded

    def _send(self, session: Session, step: Step) -> Answer:
        which = "embedded" if session.rest is self.embedded else "real"
        try:
            return session.send(step)
        except urllib3.exceptions.HTTPError as error:
            raise StuckError(f"the {which} server does not answer {step.describe()}: {type(error).__name__}") from error

    def _settle(self, ours: Session, theirs: Session, step: Step, answer: Answer) -> None:
        """Wait until garbage collection and quotas have done what the step leaves to them."""
        kind = KINDS[step.plural]
        if step.verb in {"delete", "delete-collection"} and answer.status < 300:
            self._await_same_lists(ours, theirs, kind)
        quotas = KINDS["resourcequotas"]
        if any(one.startswith("resourcequotas/") for one in ours.known) and step.verb not in {"get", "list"}:
            self._await_same_lists(ours, theirs, quotas)

    def _await_same_lists(self, ours: Session, theirs: Session, kind: Kind) -> None:
        is_quota = kind.plural == "resourcequotas"

        def is_same() -> bool:
            lists = [session.rest.read(kind.path(session.namespace))["items"] for session in (ours, theirs)]
            if is_quota and any(
                (item["spec"].get("hard") or {}) != (item["status"].get("hard") or {}) for item in lists[1]
            ):
                return False
            mine, other = ([_settled_part(item, is_quota=is_quota) for item in items] for items in lists)
            return mine == other

        _await(is_same, f"the same {kind.plural} on both servers", is_fatal=False)

    def _clear(self, namespace: str) -> None:
        """Delete what the sequence has made; without waiting, for the next sequence has another namespace."""
        for rest in (self.embedded, self.real):
            for plural in _in_order(self._clean[namespace]):
                _remove_items(rest, KINDS[plural], namespace)

    def _await_empty(self, namespace: str) -> None:
        for rest in (self.embedded, self.real):
            for plural in self._clean[namespace]:

                def is_empty(rest: Rest = rest, plural: str = plural) -> bool:
                    left = _items(rest, KINDS[plural], namespace)
                    for item in left:
                        rest.merge(
                            KINDS[plural].path(namespace, item["metadata"]["name"]),
                            {"metadata": {"finalizers": None}},
                        )
                    return not left

                _await(is_empty, f"the end of {plural} in {namespace}")
        self._clean[namespace] = set()


def replay(rest: Rest, namespace: str, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Send a sequence to one server. Return its answers in comparable form, and remove what it has made."""
    session = Session(rest, namespace)
    answers = [session.normalizer.answer(session.send(step)) for step in steps]
    for plural in {step.plural for step in steps}:
        _remove_items(rest, KINDS[plural], namespace)
        _await(partial(_has_none, rest, KINDS[plural], namespace), f"the end of {plural} in {namespace}")
    return answers


def _has_none(rest: Rest, kind: Kind, namespace: str) -> bool:
    return not _items(rest, kind, namespace)


def _remove_items(rest: Rest, kind: Kind, namespace: str) -> None:
    for item in _items(rest, kind, namespace):
        path = kind.path(namespace, item["metadata"]["name"])
        if item["metadata"].get("finalizers"):
            rest.merge(path, {"metadata": {"finalizers": None}})
        rest.delete(path, {"propagationPolicy": "Background", "gracePeriodSeconds": 0})


def _in_order(plurals: set[str]) -> list[str]:
    """Quotas first, because they count what goes."""
    return sorted(plurals, key=lambda plural: (plural != "resourcequotas", plural))


def _items(rest: Rest, kind: Kind, namespace: str) -> list[Object]:
    own = {"kube-root-ca.crt", "default"}
    return [item for item in rest.read(kind.path(namespace))["items"] if item["metadata"]["name"] not in own]


def _settled_part(item: Object, *, is_quota: bool) -> tuple[str, Object]:
    metadata = item["metadata"]
    name = metadata["name"] if "generateName" not in metadata else metadata["generateName"]
    return name, {
        "finalizers": metadata.get("finalizers"),
        "deleted": "deletionTimestamp" in metadata,
        "quota": [item.get("spec"), item.get("status")] if is_quota else None,
    }


def _await_collector(rest: Rest, namespace: str) -> None:
    """Wait until garbage collection knows the custom resources: it looks for new ones twice a minute."""
    for kind in KINDS.values():
        if kind.is_custom:
            path = kind.path(namespace, LAST)
            rest.create(kind.path(namespace), {**kind.typed, "metadata": {"name": LAST}, **kind.base})
            rest.delete(path, {"propagationPolicy": "Orphan"})
            _await(partial(_is_gone, rest, path), f"the end of {path}", deadline_s=90.0)


def _is_gone(rest: Rest, path: str) -> bool:
    return rest.get(path).status == 404


def _await_object(rest: Rest, path: str) -> None:
    _await(lambda: rest.get(path).status == 200, path)


def _await(
    is_so: Callable[[], bool], what: str, *, is_fatal: bool = True, deadline_s: float = SETTLE_DEADLINE_S
) -> None:
    """Wait until something is so, or without `is_fatal` for a while. Raises StuckError."""
    deadline = time.monotonic() + deadline_s
    pause = 0.002
    while not is_so():
        if time.monotonic() > deadline:
            if not is_fatal:
                return
            raise StuckError(f"after {deadline_s:.0f} s there is still no sign of {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.2)
