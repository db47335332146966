"""Subresources with their own behavior (scale, token, log, eviction, binding), and the /devcluster paths."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from devcluster.apiserver import errors
from devcluster.apiserver.auth.identity import Authenticator
from devcluster.apiserver.auth.request_info import is_true
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.http import bodies
from devcluster.apiserver.http.backend import Backend
from devcluster.apiserver.http.calls import Call, build_delete_options, build_write_options, parse_fault_body, respond
from devcluster.apiserver.schema.go_values import go_kind
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.storage.records import Record
from devcluster.apiserver.writes import scale
from devcluster.apiserver.writes.options import Patch, Target

LOG_LIMIT = 1024 * 1024
FOLLOW_EVERY_S = 0.3
MIN_TOKEN_S, DEFAULT_TOKEN_S, MAX_TOKEN_S = 600, 3600, 2**32


async def answer(backend: Backend, call: Call, kind: ResourceType) -> web.StreamResponse:
    info = call.info
    store = backend.store
    body: JsonObject = {}
    record = store.get(kind.table, info.namespace if kind.namespaced else "", info.name)
    if info.subresource == "eviction":
        body = await _read_body(call)
        if (body.get("metadata") or {}).get("name") != info.name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
    if record is None:
        raise errors.not_found(kind.group, kind.plural, info.name)
    match info.subresource:
        case "scale":
            return await _answer_scale(backend, call, kind, record)
        case "token":
            body = await _read_body(call)
            return respond(_issue_token(backend.authenticator, record, body), 201)
        case "log":
            return await _answer_log(backend, call, record)
        case "eviction":
            options = build_delete_options(body.get("deleteOptions") or {}, call.query)
            backend.lifecycle.delete(kind, record, options)
            await store.committed()
            return respond(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
            )
        case "binding":
            body = await _read_body(call)
            pod = record.parse()
            if pod["spec"].get("nodeName"):
                raise errors.conflict(
                    "",
                    "pods/binding",
                    record.name,
                    f'pod {record.name} is already assigned to node "{pod["spec"]["nodeName"]}"',
                )
            pod["spec"]["nodeName"] = (body.get("target") or {}).get("name", "")
            store.put(kind.table, pod)
            await store.committed()
            return respond(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
            )
        case _:
            raise errors.method_not_allowed()


async def _read_body(call: Call) -> JsonObject:
    raw = await bodies.read_bytes(call.request)
    return bodies.parse_object(raw, bodies.media_type_of(call.request))


def _issue_token(authenticator: Authenticator, record: Record, body: JsonObject) -> JsonObject:
    spec = body.get("spec") or {}
    seconds = spec.get("expirationSeconds", DEFAULT_TOKEN_S)
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise errors.bad_request(
            'TokenRequest in version "v1" cannot be handled as a TokenRequest: json: cannot unmarshal '
            f"{go_kind(seconds)} into Go struct field TokenRequestSpec.spec.expirationSeconds of type int64"
        )
    causes = []
    if seconds < MIN_TOKEN_S:
        causes.append(
            errors.cause_invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        )
    if seconds > MAX_TOKEN_S:
        causes.append(
            errors.cause_invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
            )
        )
    if causes:
        raise errors.invalid("authentication.k8s.io", "TokenRequest", "", causes)
    audiences = spec.get("audiences") or ["https://kubernetes.default.svc.cluster.local"]
    token, expires_at = authenticator.issue(record.namespace, record.name, record.uid, audiences, seconds)
    moment = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": record.name, "namespace": record.namespace},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": spec.get("boundObjectRef")},
        "status": {"token": token, "expirationTimestamp": moment},
    }


async def _answer_log(backend: Backend, call: Call, record: Record) -> web.StreamResponse:
    """Return the end of the Pod's log file, empty if there is none yet. With `follow`, stream what is added to it until
    the Pod is gone.
    """
    pod = record.parse()
    path = backend.pod_logs.get(record.uid)
    container = call.query.get("container", "")
    names = [one["name"] for one in pod["spec"]["containers"]]
    if container and container not in names:
        raise errors.bad_request(f"container {container} is not valid for pod {record.name}")
    if not path:
        raise errors.bad_request(
            f'container "{container or names[0]}" in pod "{record.name}" is waiting to start: ContainerCreating'
        )
    size, text = await asyncio.to_thread(
        _read_tail, path, call.query.get("tailLines", ""), call.query.get("limitBytes", "")
    )
    if not is_true(call.query, "follow"):
        return web.Response(body=text, content_type="text/plain")
    return await _follow_log(backend, call, record, path, size, text)


async def _follow_log(
    backend: Backend, call: Call, record: Record, path: Path, offset: int, text: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    with contextlib.suppress(ConnectionError):  # the client disconnected
        while (found := backend.store.get(*record.key)) is not None and found.uid == record.uid:
            if text:
                await response.write(text)
            await asyncio.sleep(FOLLOW_EVERY_S)
            offset, text = await asyncio.to_thread(_read_from, path, offset)
        await response.write_eof()
    return response


def _read_from(path: Path, offset: int) -> tuple[int, bytes]:
    """Return the new offset and what was written after `offset`; from the start if the file was replaced."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            text = file.read(LOG_LIMIT)
            return offset + len(text), text
    except OSError:
        return 0, b""


def _read_tail(path: Path, tail_lines: str, limit_bytes: str) -> tuple[int, bytes]:
    """Return the size of the file, and the end of its text."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - LOG_LIMIT, 0))
            text = file.read()
    except OSError:
        return 0, b""
    if tail_lines.isdigit():
        lines = text.splitlines(keepends=True)
        text = b"".join(lines[-int(tail_lines) :]) if tail_lines != "0" else b""
    return size, text[: int(limit_bytes)] if limit_bytes.isdigit() else text


# Scale


async def _answer_scale(backend: Backend, call: Call, kind: ResourceType, record: Record) -> web.StreamResponse:
    live = record.parse()
    if call.info.verb == "get":
        return respond(scale.scale_of(live))
    raw = await bodies.read_bytes(call.request)
    media_type = bodies.media_type_of(call.request)
    options = build_write_options(call)
    target = Target(kind, record.namespace, record.name)
    if call.info.verb == "update":
        wanted = bodies.parse_object(raw, media_type)
        written = backend.operations.update_scale(target, record, wanted, options)
    else:
        written = backend.operations.patch_scale(target, record, Patch(media_type, bodies.parse_json(raw)), options)
    await backend.store.committed()
    return respond(scale.scale_of(written.body), warnings=options.warnings)


# /devcluster


async def answer_devcluster(backend: Backend, call: Call) -> web.StreamResponse:
    """Handle GET, POST and DELETE of faults, and GET and DELETE of request counts."""
    path, method = call.info.path.rstrip("/"), call.request.method
    match method, path:
        case "GET", "/devcluster/faults":
            return respond({"faults": backend.faults.describe(), "latency_s": backend.faults.latency_s})
        case "POST", "/devcluster/faults":
            body = parse_fault_body(await bodies.read_bytes(call.request))
            if "latency_s" in body and "kind" not in body:
                backend.faults.latency_s = float(body["latency_s"])
                return respond({"latency_s": backend.faults.latency_s}, 201)
            if body.get("kind") == "drop-watches":
                return respond({"dropped": backend.store.drop_subscriptions(body.get("resource") or None)}, 201)
            if body.get("kind") == "compact":
                backend.store.compact()
                return respond({"compacted": True}, 201)
            backend.faults.revision = backend.store.revision
            try:
                fault = backend.faults.add(**body)
            except (TypeError, ValueError) as error:
                raise errors.bad_request(f"this fault cannot be added: {error}") from None
            return respond({"id": fault.id}, 201)
        case "DELETE", "/devcluster/faults":
            backend.faults.clear()
            return respond({"cleared": True})
        case "DELETE", _ if path.startswith("/devcluster/faults/") and path.rpartition("/")[2].isdigit():
            if not backend.faults.remove(int(path.rpartition("/")[2])):
                raise errors.ApiError(
                    404, "NotFound", "There is no fault with this id; GET /devcluster/faults lists them."
                )
            return respond({"cleared": True})
        case "GET", "/devcluster/requests":
            return respond({"requests": backend.request_counts.describe()})
        case "DELETE", "/devcluster/requests":
            backend.request_counts.clear()
            return respond({"cleared": True})
        case _:
            raise errors.page_not_found()
