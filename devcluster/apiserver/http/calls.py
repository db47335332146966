"""The context of one request, and helpers for query options, media types and responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from devcluster.apiserver import errors
from devcluster.apiserver.auth.identity import Identity
from devcluster.apiserver.auth.request_info import RequestInfo, is_true
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.http import listing
from devcluster.apiserver.http.faults import Fault
from devcluster.apiserver.schema.json_text import replace_surrogates
from devcluster.apiserver.storage.records import dump
from devcluster.apiserver.writes.deletion import DeleteOptions
from devcluster.apiserver.writes.options import WriteOptions


@dataclass(slots=True)
class Call:
    """A parsed and authenticated request."""

    request: web.Request
    info: RequestInfo
    identity: Identity
    query: Mapping[str, str]
    fault: Fault | None = None
    """A fault that the handler carries out: stale-list, truncated-watch or watch-gone."""


def respond(body: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(
        status=status, body=body if isinstance(body, bytes) else dump(body), content_type="application/json"
    )
    for warning in warnings or ():
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def build_delete_options(body: JsonObject, query: Mapping[str, str]) -> DeleteOptions:
    """Return the options of a deletion. A body replaces the query. ApiError 400 or 422 for invalid values."""
    propagation = body.get("propagationPolicy", query.get("propagationPolicy"))
    causes: list[errors.Cause] = []
    if is_true(query, "orphanDependents") or body.get("orphanDependents") is not None:
        if propagation is not None:
            detail = "orphanDependents and deletionPropagation cannot be both set"
            causes.append(errors.cause_invalid("propagationPolicy", propagation, detail))
        elif is_true(query, "orphanDependents") or body.get("orphanDependents") is True:
            propagation = "Orphan"
    if propagation not in (None, "Background", "Foreground", "Orphan"):
        causes.append(
            errors.cause_not_supported("propagationPolicy", propagation, ["Foreground", "Background", "Orphan", "nil"])
        )
    dry_run = body.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
    if dry_run not in ([], ["All"]):
        causes.append(errors.cause_not_supported("dryRun", dry_run, ["All"]))
    if causes:
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
    grace = body.get("gracePeriodSeconds")
    if grace is None and "gracePeriodSeconds" in query:
        grace = listing.read_number(query, "gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise errors.bad_request(
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
        )
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        propagation=propagation or "",
        grace_period_s=grace,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=bool(dry_run),
    )


_SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_PLAIN_MEDIA = "only the following media types are accepted: " + errors.MEDIA_TYPES


def check_acceptable(request: web.Request, *, shapes: tuple[str, ...] = _SHAPES) -> None:
    """Raise ApiError 406 if the server can send no media type of the header. `shapes` are the accepted `as=` values."""
    accept = request.headers.get("Accept", "")
    if not accept:
        return
    shaped = False
    for part in accept.split(","):
        media, *parameters = part.replace(" ", "").split(";")
        if media.lower() not in {"*/*", "application/*", "application/json", "application/yaml"}:
            continue
        wanted = [one.removeprefix("as=") for one in parameters if one.startswith("as=")]
        if not wanted or wanted[0] in shapes:
            return
        shaped = True
    raise errors.ApiError(406, "NotAcceptable", _PLAIN_MEDIA, details={}) if shaped else errors.not_acceptable()


def wants_yaml(accept: str) -> bool:
    """Whether the Accept header names YAML before JSON."""
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media == "application/yaml":
            return True
        if media in {"application/json", "*/*", "application/*"}:
            return False
    return False


def page_not_found_text() -> web.Response:
    """404 in plain text, as the real server's router sends it for unknown resources."""
    return web.Response(status=404, text="404 page not found\n", content_type="text/plain")


def parse_fault_body(raw: bytes) -> JsonObject:
    try:
        body = json.loads(raw)
    except ValueError:
        raise errors.bad_request('a fault is a JSON object such as {"kind": "status", "status": 503}') from None
    if not isinstance(body, dict):
        raise errors.bad_request('a fault is a JSON object such as {"kind": "status", "status": 503}')
    return body


def default_manager(request: web.Request) -> str:
    """Return the manager of the fields that a request without `fieldManager` writes: the program of its User-Agent, as
    far as it is printable, up to 128 bytes."""
    program = replace_surrogates(request.headers.get("User-Agent", "").partition("/")[0])
    printable = "".join(character for character in program if character.isprintable())
    return printable.encode()[:128].decode(errors="ignore") or "unknown"


def build_write_options(call: Call) -> WriteOptions:
    """Return the options of a write from its query parameters. ApiError 422 for invalid values."""
    query = call.query
    explicit = query.get("fieldManager", "")
    validation = query.get("fieldValidation", "") or "Warn"
    causes: list[errors.Cause] = []
    dry_run = query.get("dryRun")
    if dry_run not in (None, "All"):
        causes.append(errors.cause_not_supported("dryRun", [dry_run], ["All"]))
    if len(explicit) > 128:
        causes.append(errors.cause_too_long("fieldManager", "may not be more than 128 bytes"))
    causes += [
        errors.cause_invalid("fieldManager", explicit, f"invalid character U+{ord(one):04X} (at position {index})")
        for index, one in enumerate(explicit)
        if not one.isprintable()
    ][:1]
    if validation not in {"Warn", "Strict", "Ignore"}:
        causes.append(errors.cause_not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    if causes:
        what = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}.get(
            call.info.verb, "DeleteOptions"
        )
        raise errors.invalid("meta.k8s.io", what, "", causes)
    return WriteOptions(
        user=call.identity.user,
        field_manager=explicit or default_manager(call.request),
        explicit_manager=explicit,
        dry_run=dry_run == "All",
        field_validation=validation,
        force=is_true(query, "force"),
    )
