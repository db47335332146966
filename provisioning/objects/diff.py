"""Compares an object in the cluster with the manifest that was last applied. Pure.

Only fields of the manifest count: fields that the API server, operators and other clients add belong to them. Values of
Secrets are compared by keyed digests and never shown.
"""

import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any

from projects.confidential.redaction import redact
from provisioning.objects.readers import Object, mapping, metadata_of, text

# The parts of an object that a client sends. The status and the rest of the metadata belong to the cluster.
_SENT = ("spec", "data", "type")
_SENT_METADATA = ("labels", "annotations")
_DIGEST_LENGTH = 12
_SHOWN_LENGTH = 80
_LABELS_PATH = "metadata.labels"
GONE = "gone"

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_SUFFIXES = {
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(["k", "M", "G", "T", "P", "E"], 1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)},
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs. `mark`: a digest of the live value, of which `live` shows only a part. `obstacle` says why
    the panel can't revert it; "" if it can."""

    kind: str
    name: str
    path: str
    applied: str
    live: str
    mark: str = ""
    obstacle: str = ""

    @property
    def is_revertible(self) -> bool:
        return not self.obstacle

    def __str__(self) -> str:
        if self.live == GONE and not self.path:
            return f"{self.kind} {self.name} is gone"
        return f"{self.kind} {self.name} {self.path}: applied {self.applied}, now {self.live}"


def conceal(item: Object, key: str) -> dict[str, Any]:
    """Return the object with each value of a Secret's data replaced by a keyed digest."""
    concealed = dict(item)
    if item.get("kind") == "Secret":
        concealed["data"] = {name: _digest(value, key) for name, value in mapping(item.get("data")).items()}
        concealed.pop("stringData", None)
    return concealed


def _digest(value: Any, key: str) -> str:
    return hmac.new(key.encode(), str(value).encode(), "sha256").hexdigest()[:_DIGEST_LENGTH]


def find_drift(applied: Object, live: Object | None) -> list[Difference]:
    """Return each field of `applied` that differs in `live`, in the order of the manifest. Both must be concealed."""
    kind, name = text(applied.get("kind")), text(metadata_of(applied).get("name"))
    if live is None:
        return [Difference(kind, name, "", "there", GONE)]
    found: list[Difference] = []
    for part in _SENT_METADATA:
        sent = mapping(metadata_of(applied).get(part))
        there = mapping(metadata_of(live).get(part))
        found += _compare_part(kind, name, sent, there, f"metadata.{part}")
    for part in _SENT:
        if part in applied:
            found += _compare_part(kind, name, applied[part], live.get(part), part)
    if kind == "Secret":
        extra = sorted(set(mapping(live.get("data"))) - set(mapping(applied.get("data"))))
        found += [
            Difference(kind, name, f"data.{key}", "none", "a value that was not applied", _mark(live["data"][key]))
            for key in extra
        ]
    return found


def _compare_part(kind: str, name: str, sent: Any, there: Any, path: str) -> list[Difference]:
    is_secret = kind == "Secret" and path == "data"
    return [
        Difference(
            kind, name, at, "a value" if is_secret else _show(a), _show_secret(b) if is_secret else _show(b), _mark(b)
        )
        for at, a, b in _compare(sent, there, path)
    ]


def _compare(sent: Any, there: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    match sent:
        case Mapping():
            present = mapping(there)
            for key, value in sent.items():
                yield from _compare(value, present.get(key), f"{path}.{key}")
        case list():
            yield from _compare_lists(sent, there if isinstance(there, list) else [], path)
        case _:
            if not _is_same(sent, there, path):
                yield path, sent, there


def _compare_lists(sent: Sequence[Any], there: Sequence[Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    """Match items that have names by name, ignoring other clients' items; match all others by position."""
    names = [_name_of(item) for item in sent]
    if sent and all(names):
        present = {_name_of(item): item for item in there}
        for name, item in zip(names, sent, strict=True):
            if name not in present:
                yield f"{path}[{name}]", "there", None
            else:
                yield from _compare(item, present[name], f"{path}[{name}]")
    elif len(sent) != len(there):
        yield path, sent, list(there)
    else:
        for position, (item, other) in enumerate(zip(sent, there, strict=True)):
            yield from _compare(item, other, f"{path}[{position}]")


def _name_of(item: Any) -> str:
    return text(mapping(item).get("name")) or text(metadata_of(mapping(item)).get("name"))


def _is_same(sent: Any, there: Any, path: str) -> bool:
    if sent == there or (sent in (None, "", False, 0) and there is None):
        return True
    is_quantity = ".limits." in path or ".requests." in path
    if not is_quantity:
        return False
    quantity = parse_quantity(sent)
    return quantity is not None and quantity == parse_quantity(there)


def parse_quantity(value: Any) -> Decimal | None:
    """Return an amount in the notation of Kubernetes as a number, None for anything else."""
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _SUFFIXES.get(found[2] or "", Decimal(1)) if found else None


def _show(value: Any) -> str:
    if value is None:
        return GONE
    # Mask before joining lines and cutting: part of a secret wouldn't be recognized.
    shown = " ".join(redact(str(value)).split())
    return shown if len(shown) <= _SHOWN_LENGTH else f"{shown[:_SHOWN_LENGTH]}…"


def _show_secret(value: Any) -> str:
    return GONE if value is None else "another value"


def _mark(value: Any) -> str:
    """Return a digest of a value as it was compared: of a Secret, that is a keyed digest."""
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:_DIGEST_LENGTH]


def list_admitted(applied: Object, answer: Object) -> list[list[str]]:
    """Return what admission changed of a manifest, as [path, mark], by the API server's answer to its application: a
    registry mirror's image, for example. Both must be concealed."""
    return [[item.path, item.mark] for item in find_drift(applied, answer)]


def drop_admitted(found: list[Difference], admitted: object) -> list[Difference]:
    """Return the differences but those that admission made when the manifest was applied. `admitted`: of
    `list_admitted`, as it was stored."""
    known = {(item[0], item[1]) for item in admitted} if isinstance(admitted, list) else set()
    return [item for item in found if (item.path, item.mark) not in known]


def keep_revertible(found: list[Difference], after: list[Difference]) -> list[Difference]:
    """Return the differences that applying the manifest again would revert. `after`: those that remain after a dry run
    of that.

    Fields that an admission webhook rewrites each time, or that the API server writes differently, are not drift.
    """
    echoed = {(item.path, item.mark) for item in after}
    return [item for item in found if (item.path, item.mark) not in echoed]


def mark_unrevertible(found: list[Difference]) -> list[Difference]:
    """Return a Cluster's differences: the panel reverts labels only, because it sends the spec once."""
    obstacle = (
        "The spec of a Cluster is sent once, so the panel can't revert it. Revert it with an OpsRequest or by hand, or "
        "keep it."
    )
    return [item if item.path.startswith(_LABELS_PATH) else replace(item, obstacle=obstacle) for item in found]


def mark_refused(found: list[Difference], why: str) -> list[Difference]:
    """Return differences that the API server refuses to revert, with its reason."""
    return [replace(item, obstacle=f"It can't be reverted: {why}") for item in found]


def summarize(found: Sequence[Difference], most: int = 4) -> str:
    """Return the differences as one line."""
    shown = "; ".join(str(item) for item in found[:most])
    return shown + (f"; and {len(found) - most} more" if len(found) > most else "")


def describe(item: Difference) -> dict[str, str]:
    """Return a difference as a dict, as rows store it and `--json` prints it."""
    return {
        "object": f"{item.kind} {item.name}",
        "path": item.path,
        "applied": item.applied,
        "live": item.live,
        "obstacle": item.obstacle,
    }
