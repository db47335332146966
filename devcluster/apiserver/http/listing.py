"""Lists: selectors, consistent pages, and the representations of objects (whole, or metadata only)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver import errors
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.http.watching import Filter
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.schema.selectors import parse_field_selector, parse_label_selector
from devcluster.apiserver.storage.records import CompactedError, Record, dump
from devcluster.apiserver.storage.store import Store

_COMMON_FIELDS = ("metadata.name", "metadata.namespace")
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "services": ("spec.clusterIP", "spec.type"),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "replicationcontrollers": ("status.replicas",),
    "certificatesigningrequests.certificates.k8s.io": ("spec.signerName",),
}  # fmt: skip
_ZERO_FIELDS = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.successful": "0",
    "status.replicas": "0",
}


def build_filter(kind: ResourceType, namespace: str | None, name: str, query: Mapping[str, str]) -> Filter:
    """Return the selectors of the query. ApiError 400 if one does not parse or names an unsupported field."""
    labels = parse_label_selector(query.get("labelSelector", ""))
    supported = frozenset((*_COMMON_FIELDS, *_FIELDS.get(kind.table, ()), *kind.selectable_fields))
    fields = parse_field_selector(query.get("fieldSelector", ""), supported, custom=not kind.builtin)
    if name:
        fields = (*fields, *parse_field_selector(f"metadata.name={name}", supported))
    return Filter(namespace, labels, fields, _read_field)


def _read_field(record: Record, field: str) -> str:
    if field == "metadata.name":
        return record.name
    if field == "metadata.namespace":
        return record.namespace
    value: Any = record.parse()
    if field == "source":
        return str((value.get("source") or {}).get("component") or value.get("reportingComponent") or "")
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return _ZERO_FIELDS.get(field, "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its records, its revision, and the token of the next page."""

    records: list[Record]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


def select_page(
    store: Store, kind: ResourceType, chosen: Filter, query: Mapping[str, str], stale_at: int | None = None
) -> Page:
    """Return one page. Tokens contain the revision and the last key, so all pages show the same revision.

    ApiError 410 if the history no longer has that revision.
    """
    limit = _read_limit(query)
    token = query.get("continue", "")
    after: tuple[str, str] | None = None
    revision = store.revision if stale_at is None else stale_at
    if token:
        revision, after = _decode_token(token)
        if query.get("resourceVersion", "") not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
    else:
        revision = _read_exact(store, query, revision)
    try:
        records = store.records_at(kind.table, chosen.namespace, revision, chosen.labels)
    except CompactedError:
        if token:
            raise _expired_token(store, after) from None
        raise errors.expired("The resourceVersion for the provided list is too old.") from None
    if after is not None:
        records = [record for record in records if record.key[1:] > after]
    if chosen.labels or chosen.fields:
        records = [record for record in records if chosen.shows(record)]
    if not limit or len(records) <= limit:
        return Page(records, revision)
    page = records[:limit]
    remaining = None if chosen.labels or chosen.fields else len(records) - limit
    return Page(page, revision, _encode_token(revision, page[-1]), remaining)


def read_number(query: Mapping[str, str], name: str) -> int:
    """Return an int64 of the query, 0 if it is not given. ApiError 400 if it is no number."""
    text = query.get(name, "0")
    try:
        number = int(text)
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -(2**63) <= number < 2**63:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _read_limit(query: Mapping[str, str]) -> int:
    return max(read_number(query, "limit"), 0)


def _read_exact(store: Store, query: Mapping[str, str], revision: int) -> int:
    text = query.get("resourceVersion", "")
    if text in ("", "0"):
        return revision
    if not text.isdigit():
        raise errors.bad_request(f"invalid resource version: {bad_version(text)}")
    wanted = int(text)
    check_reached(store, wanted)
    return wanted if query.get("resourceVersionMatch") == "Exact" else revision


def bad_version(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def check_reached(store: Store, wanted: int) -> None:
    """Raise ApiError 504 for a resourceVersion that the store has not reached."""
    if wanted <= store.revision:
        return
    raise errors.ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {store.revision}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def check_list_options(query: Mapping[str, str], *, watch: bool) -> None:
    """Raise ApiError 422 for options that exclude each other."""
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    for name in ("limit", "timeoutSeconds"):
        read_number(query, name)
    causes: list[errors.Cause] = []
    field = "resourceVersionMatch"
    if "sendInitialEvents" in query:
        if not watch:
            causes.append(errors.cause_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            causes.append(
                errors.cause_forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            )
    elif match and watch:
        causes.append(
            errors.cause_forbidden(
                field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        )
    elif match:
        if not version:
            causes.append(
                errors.cause_forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            )
        elif query.get("continue"):
            causes.append(errors.cause_forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
        elif match not in {"Exact", "NotOlderThan"}:
            causes.append(errors.cause_not_supported(field, match, ["Exact", "NotOlderThan", ""]))
        elif match == "Exact" and version == "0":
            causes.append(
                errors.cause_forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
            )
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)


def _encode_token(revision: int, last: Record) -> str:
    start = f"{last.namespace}/{last.name}" if last.namespace else last.name
    payload = dump({"v": "meta.k8s.io/v1", "rv": revision, "start": f"{start}\u0000"})
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def _decode_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        padded = token + "=" * (-len(token) % 4)
        payload = json.loads(base64.urlsafe_b64decode(padded))
        start = str(payload["start"]).rstrip("\u0000")
        namespace, _, name = start.rpartition("/")
        return int(payload["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise errors.bad_request(
            "invalid continue token: continue key is not valid: illegal base64 data or an unknown form"
        ) from None


def _expired_token(store: Store, after: tuple[str, str] | None) -> errors.ApiError:
    """Return a 410 with a token that continues after the same key at the current revision."""
    error = errors.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without "
        "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
        "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
        "deleted between the time the first chunk was returned and now may show up in the list."
    )
    namespace, name = after or ("", "")
    start = f"{namespace}/{name}" if namespace else name
    payload = dump({"v": "meta.k8s.io/v1", "rv": store.revision, "start": f"{start}\u0000"})
    error.list_metadata = {"continue": base64.urlsafe_b64encode(payload).rstrip(b"=").decode()}
    return error


def show_plain(record: Record, kind: ResourceType) -> bytes:
    """Return the object in the API version of the request."""
    if kind.builtin or kind.version == kind.storage_version:
        return record.raw
    body = record.parse()
    body["apiVersion"] = kind.api_version
    return dump(body)


def show_metadata(record: Record, kind: ResourceType) -> bytes:
    body = record.parse()
    return dump({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": body["metadata"]})


def build_list(kind: ResourceType, page: Page, items: list[bytes], *, metadata_only: bool = False) -> bytes:
    metadata: JsonObject = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        metadata["continue"] = page.continue_token
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    if metadata_only:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    elif kind.builtin:
        head = {"kind": kind.list_kind, "apiVersion": kind.api_version}
    else:
        head = {"apiVersion": kind.api_version, "kind": kind.list_kind}
    return dump({**head, "metadata": metadata})[:-1] + b',"items":[' + b",".join(items) + b"]}"
