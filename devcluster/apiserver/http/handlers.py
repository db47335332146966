"""Request handlers: paths without resources, resources, and the /devcluster paths of the embedded server."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from devcluster.apiserver import errors
from devcluster.apiserver.auth.rbac import Access, refusal
from devcluster.apiserver.auth.request_info import is_true
from devcluster.apiserver.errors import JsonObject
from devcluster.apiserver.http import bodies, discovery, listing, openapi, reviews, subresources, tables, watching
from devcluster.apiserver.http.backend import Backend
from devcluster.apiserver.http.calls import (
    Call,
    build_delete_options,
    build_write_options,
    check_acceptable,
    page_not_found_text,
    respond,
)
from devcluster.apiserver.schema.go_values import go_kind
from devcluster.apiserver.schema.resources import ResourceType
from devcluster.apiserver.storage.records import Record, dump
from devcluster.apiserver.writes.deletion import DeleteOptions
from devcluster.apiserver.writes.objects import present
from devcluster.apiserver.writes.operations import Written
from devcluster.apiserver.writes.options import Patch, Target, WriteOptions


class Handlers:
    def __init__(self, backend: Backend, kubernetes_version: str) -> None:
        self._backend = backend
        self._operations = backend.operations
        self._authenticator = backend.authenticator
        self._authorizer = backend.authorizer
        self._version = kubernetes_version
        self.address = ""

    # Paths without resources

    async def answer_plain(self, call: Call) -> web.StreamResponse:
        path = call.info.path.rstrip("/") or "/"
        if path in {"/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/ping", "/healthz/ping"}:
            return web.Response(text="ok")
        if call.request.method not in {"GET", "HEAD"}:
            roots = path in {"/", "/apis"} or (path.startswith("/apis/") and path.count("/") == 2)
            if path == "/version" or (path.startswith("/api") and not roots):
                raise errors.method_not_allowed()
            if not roots:
                return page_not_found_text()  # discovery roots treat every method as GET
        registry = self._backend.registry
        parts = path.strip("/").split("/")
        if path == "/version":
            return respond(discovery.build_version(self._version))
        if path == "/":
            return respond({"paths": discovery.build_paths(registry)})
        if path == "/openapi/v2":
            # Not JSON for protobuf: kubectl would parse it as protobuf.
            check_acceptable(call.request, shapes=())
            return respond({"swagger": "2.0", "info": {"title": "Kubernetes", "version": self._version}, "paths": {}})
        if path == "/openapi/v3":
            return respond(openapi.build_index(registry))
        if path.startswith("/openapi/v3/"):
            check_acceptable(call.request, shapes=())
            document = openapi.build_document(registry, path.removeprefix("/openapi/v3/"))
            return page_not_found_text() if document is None else respond(document)
        if path in {"/api", "/apis"}:
            if (
                "as=APIGroupDiscoveryList" in call.request.headers.get("Accept", "")
                and "v=v2" in call.request.headers["Accept"]
            ):
                response = respond(discovery.build_aggregated(registry, core=path == "/api"))
                response.headers["Content-Type"] = discovery.AGGREGATED
                return response
            if path == "/api":
                return respond(discovery.build_core_versions(self.address))
            return respond(discovery.build_groups(registry))
        found: JsonObject | None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.build_resource_list(registry, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.build_resource_list(registry, parts[1], parts[2])
        elif parts[0] == "apis" and len(parts) == 2:
            versions = discovery.group_versions(registry).get(parts[1])
            found = (
                {"kind": "APIGroup", "apiVersion": "v1", **discovery.build_group(parts[1], versions)}
                if versions
                else None
            )
        else:
            found = None
        if found is None:
            served = parts[0] == "api" or (len(parts) == 3 and parts[1] in discovery.group_versions(registry))
            if served and parts[0] in {"api", "apis"}:
                raise errors.page_not_found()
            return page_not_found_text()
        return respond(found)

    # Resources

    async def answer_resource(self, call: Call) -> web.StreamResponse:
        info = call.info
        kind = self._backend.registry.find(info.group, info.version, info.resource)
        if kind is None:
            if any(one.group == info.group and one.builtin for one in self._backend.registry.types()):
                raise errors.page_not_found()
            return page_not_found_text()
        check_acceptable(call.request)
        response = await self._answer_kind(call, kind)
        if kind.deprecation and not response.prepared:
            response.headers.add("Warning", f'299 - "{kind.deprecation}"')
        return response

    async def _answer_kind(self, call: Call, kind: ResourceType) -> web.StreamResponse:
        info = call.info
        if info.rest or (info.subresource and info.subresource not in kind.subresources):
            raise errors.page_not_found()
        if call.request.method not in {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            raise errors.method_not_allowed()
        if kind.plural == "namespaces" and info.path.rstrip("/").endswith(f"/namespaces/{info.namespace}/namespaces"):
            raise errors.page_not_found()
        if kind.namespaced and not info.namespace and info.name and info.verb == "create":
            raise errors.page_not_found()
        if kind.namespaced and not info.namespace and "list" not in kind.verbs and info.verb != "create":
            raise errors.page_not_found()
        if not info.subresource and info.verb not in kind.verbs:
            raise errors.method_not_allowed()
        if info.subresource and info.verb not in kind.subresources[info.subresource]["verbs"]:
            raise errors.method_not_allowed()
        if not info.name and info.verb in {"update", "patch"}:
            raise errors.method_not_allowed()
        if kind.namespaced and not info.namespace and info.verb not in {"list", "watch", "create"}:
            raise errors.page_not_found() if info.name else errors.method_not_allowed()
        if not kind.namespaced and info.namespace and kind.plural != "namespaces":
            raise errors.page_not_found()
        if kind.plural.endswith("reviews") and kind.group in {"authorization.k8s.io", "authentication.k8s.io"}:
            raw = await bodies.read_bytes(call.request)
            body = bodies.parse_object(raw, bodies.media_type_of(call.request))
            return respond(reviews.answer(kind, body, call.identity, self._authenticator, self._authorizer), 201)
        if info.subresource not in ("", "status", "finalize"):
            return await self._answer_subresource(call, kind)
        match info.verb:
            case "get":
                return self._get(call, kind)
            case "list":
                return self._list(call, kind)
            case "watch":
                return await self._watch(call, kind)
            case "create":
                return await self._create(call, kind)
            case "update":
                return await self._update(call, kind)
            case "patch":
                return await self._patch(call, kind)
            case "delete":
                return await self._delete(call, kind)
            case "deletecollection":
                return await self._delete_collection(call, kind)
            case _:
                raise errors.method_not_allowed()

    def _target(self, call: Call, kind: ResourceType) -> Target:
        info = call.info
        return Target(kind, info.namespace if kind.namespaced else "", info.name, info.subresource)

    def _get(self, call: Call, kind: ResourceType) -> web.Response:
        version = call.query.get("resourceVersion", "")
        if version.isdigit():
            listing.check_reached(self._backend.store, int(version))
        record = self._operations.find(self._target(call, kind))
        style = tables.wanted_style(call.request.headers.get("Accept", ""))
        if style == "table":
            return respond(tables.build_table(kind, [record], str(record.revision)))
        if style == "metadata":
            return respond(listing.show_metadata(record, kind))
        return respond(listing.show_plain(record, kind))

    def _list(self, call: Call, kind: ResourceType) -> web.Response:
        listing.check_list_options(call.query, watch=False)
        chosen = listing.build_filter(kind, call.info.namespace or None, "", call.query)
        stale_at = self._backend.faults.revision if call.fault is not None and call.fault.kind == "stale-list" else None
        page = listing.select_page(self._backend.store, kind, chosen, call.query, stale_at)
        style = tables.wanted_style(call.request.headers.get("Accept", ""))
        if style == "table":
            return respond(
                tables.build_table(kind, page.records, str(page.revision), page.continue_token, page.remaining)
            )
        if style == "metadata":
            items = [listing.show_metadata(record, kind) for record in page.records]
            return respond(listing.build_list(kind, page, items, metadata_only=True))
        return respond(listing.build_list(kind, page, [_list_item(record, kind) for record in page.records]))

    async def _watch(self, call: Call, kind: ResourceType) -> web.StreamResponse:
        info, query = call.info, call.query
        version = query.get("resourceVersion", "")
        listing.check_list_options(query, watch=True)
        if version and not version.isdigit():
            raise errors.failure(500, listing.bad_version(version))
        initial_events = is_true(query, "sendInitialEvents")
        timeout = query.get("timeoutSeconds", "")
        style = tables.wanted_style(call.request.headers.get("Accept", ""))
        watch = watching.WatchRequest(
            kind=kind,
            filter=listing.build_filter(kind, info.namespace or None, info.name, query),
            resource_version=version,
            bookmarks=is_true(query, "allowWatchBookmarks"),
            initial_events=initial_events,
            timeout_s=float(timeout) if timeout.isdigit() and timeout != "0" else None,
            show=tables.shower(style, kind),
            gone=call.fault is not None and call.fault.kind == "watch-gone",
        )
        truncated = call.fault is not None and call.fault.kind == "truncated-watch"
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        async for lines in watching.stream(self._backend.store, watch):
            if truncated:
                await response.write(lines[: max(len(lines) // 2, 1)])
                await asyncio.sleep(0.05)
                if call.request.transport is not None:
                    call.request.transport.abort()
                return response
            try:
                await response.write(lines)
            except ConnectionError:
                return response  # the client disconnected
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    # Writes

    async def _create(self, call: Call, kind: ResourceType) -> web.Response:
        options = build_write_options(call)
        if call.info.name:
            raise errors.method_not_allowed()
        raw = await bodies.read_bytes(call.request)
        body = bodies.parse_object(raw, bodies.media_type_of(call.request), kind.kind)
        namespace = call.info.namespace if kind.namespaced else ""
        if kind.namespaced and not namespace:
            raise errors.method_not_allowed()
        self._authorizer.check_grants(kind, body, call.identity, namespace)
        written = self._operations.create(kind, namespace, body, options)
        return await self._respond_written(call, kind, written, options)

    async def _update(self, call: Call, kind: ResourceType) -> web.Response:
        options = build_write_options(call)
        raw = await bodies.read_bytes(call.request)
        body = bodies.parse_object(raw, bodies.media_type_of(call.request), kind.kind)
        self._authorizer.check_grants(kind, body, call.identity, call.info.namespace)
        written = self._operations.update(self._target(call, kind), body, options)
        return await self._respond_written(call, kind, written, options)

    async def _patch(self, call: Call, kind: ResourceType) -> web.Response:
        options = build_write_options(call)
        patch = await self._read_patch(call, kind)
        if patch.media_type == "application/apply-patch+yaml":
            if not options.explicit_manager:
                raise errors.invalid(
                    "meta.k8s.io",
                    "PatchOptions",
                    "",
                    [errors.cause_required("fieldManager", "is required for apply patch")],
                )
        elif "force" in call.query:
            raise errors.invalid(
                "meta.k8s.io",
                "PatchOptions",
                "",
                [errors.cause_forbidden("force", "may not be specified for non-apply patch")],
            )
        target = self._target(call, kind)
        if patch.media_type == "application/apply-patch+yaml" and not call.identity.is_master:
            self._check_may_create(call, target)
        self._authorizer.check_grants(kind, patch.body, call.identity, call.info.namespace)
        written = self._operations.patch(target, patch, options)
        return await self._respond_written(call, kind, written, options)

    def _check_may_create(self, call: Call, target: Target) -> None:
        """Raise ApiError 403 if an apply would create the object and the user may not create it."""
        if self._backend.store.get(target.kind.table, target.namespace, target.name) is not None:
            return
        info = call.info
        wanted = Access("create", info.group, info.resource, info.namespace, info.name)
        if not self._authorizer.allows(call.identity, wanted):
            raise refusal(call.identity, wanted)

    async def _read_patch(self, call: Call, kind: ResourceType) -> Patch:
        media_type = bodies.media_type_of(call.request)
        accepted = [one for one in bodies.PATCH_TYPES if "cbor" not in one]
        if not kind.builtin:
            accepted.remove("application/strategic-merge-patch+json")
        if media_type not in accepted:
            raise errors.unsupported_patch_type([] if kind.builtin else accepted)
        raw = await bodies.read_bytes(call.request)
        if media_type == "application/apply-patch+yaml":
            body = bodies.parse_yaml(raw)
        else:
            body = bodies.parse_patch(raw)
            if media_type != "application/json-patch+json" and not isinstance(body, dict):
                prefix = "" if media_type.startswith("application/strategic") else "error decoding patch: "
                given = go_kind(body)
                raise errors.bad_request(
                    f"{prefix}json: cannot unmarshal {given} into Go value of type map[string]interface {{}}"
                )
        return Patch(media_type, body)

    async def _delete(self, call: Call, kind: ResourceType) -> web.Response:
        if call.info.subresource:
            raise errors.method_not_allowed()
        options = await self._delete_options(call)
        record = self._operations.find(self._target(call, kind))
        body, gone = self._backend.lifecycle.delete(kind, record, options)
        await self._backend.store.committed()
        body = present(body, kind)
        if not gone or kind.table in _ANSWERS_OBJECT:
            return respond(body)
        return respond(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Success",
                "details": errors.build_details(kind.group, kind.plural, record.name, uid=record.uid),
            }
        )

    async def _delete_collection(self, call: Call, kind: ResourceType) -> web.Response:
        options = await self._delete_options(call)
        chosen = listing.build_filter(kind, call.info.namespace or None, "", call.query)
        page = listing.select_page(self._backend.store, kind, chosen, call.query)
        for record in page.records:
            current = self._backend.store.get(*record.key)
            if current is not None and current.uid == record.uid:
                self._backend.lifecycle.delete(kind, current, options)
        await self._backend.store.committed()
        return respond(listing.build_list(kind, page, [_list_item(record, kind) for record in page.records]))

    async def _delete_options(self, call: Call) -> DeleteOptions:
        raw = await bodies.read_bytes(call.request)
        body: JsonObject = {}
        if raw.strip() not in (b"", b"null"):
            body = bodies.parse_object(raw, bodies.media_type_of(call.request))
        # A body replaces the query: `?dryRun=All` with a body of `{}` is no dry run.
        return build_delete_options(body, {} if raw.strip() else call.query)

    async def _respond_written(
        self, call: Call, kind: ResourceType, written: Written, options: WriteOptions
    ) -> web.Response:
        await self._backend.store.committed()
        status = 201 if written.created else 200
        style = tables.wanted_style(call.request.headers.get("Accept", ""))
        if style != "plain":
            record = self._backend.store.get(
                kind.table, written.body["metadata"].get("namespace", ""), written.body["metadata"]["name"]
            )
            if record is not None:
                shown = tables.shower(style, kind)(record)
                return respond(shown, status, options.warnings)
        return respond(written.body, status, options.warnings)

    async def _answer_subresource(self, call: Call, kind: ResourceType) -> web.StreamResponse:
        return await subresources.answer(self._backend, call, kind)

    # The embedded server's own paths

    async def answer_devcluster(self, call: Call) -> web.StreamResponse:
        """Manage faults and read request counts. Requires the group system:masters."""
        if not call.identity.is_master:
            raise errors.forbidden("", "", "", "only members of system:masters may use /devcluster paths")
        return await subresources.answer_devcluster(self._backend, call)


_ANSWERS_OBJECT = frozenset(
    {
        "pods",
        "namespaces",
        "persistentvolumeclaims",
        "persistentvolumes",
        "services",
        "serviceaccounts",
        "podtemplates",
        "storageclasses.storage.k8s.io",
        "resourcequotas",
    }
)


def _list_item(record: Record, kind: ResourceType) -> bytes:
    """Return an item of a list. Items of built-in kinds have no kind and apiVersion."""
    if not kind.builtin:
        return listing.show_plain(record, kind)
    prefix = b'{"apiVersion":"%s","kind":"%s",' % (kind.api_version.encode(), kind.kind.encode())
    if record.raw.startswith(prefix):
        return b"{" + record.raw[len(prefix) :]
    body = record.parse()
    body.pop("kind", None)
    body.pop("apiVersion", None)
    return dump(body)
