"""The embedded Kubernetes API server: start, stop, and the path of one request.

A request is authenticated, authorized, subjected to a fault if one is set, and handled. Every exception becomes a
Status object. The package logs no request bodies, tokens or texts of exceptions, because these can contain Secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import aiohttp
import yaml
from aiohttp import web

from devcluster.apiserver import errors
from devcluster.apiserver.auth.identity import AUTHENTICATED, Authenticator, Identity, service_account_identity
from devcluster.apiserver.auth.rbac import Access, Authorizer, access_of, refusal
from devcluster.apiserver.auth.request_info import RequestInfo, parse_request
from devcluster.apiserver.http.backend import Backend
from devcluster.apiserver.http.calls import Call, wants_yaml
from devcluster.apiserver.http.certificates import Certificates
from devcluster.apiserver.http.faults import Fault, Faults, RequestCounts
from devcluster.apiserver.http.handlers import Handlers
from devcluster.apiserver.http.tracebacks import without_text
from devcluster.apiserver.schema.resources import Registry
from devcluster.apiserver.storage.records import dump
from devcluster.apiserver.storage.store import Store
from devcluster.apiserver.writes import bootstrap
from devcluster.apiserver.writes.deletion import Lifecycle
from devcluster.apiserver.writes.garbage_collection import Collector
from devcluster.apiserver.writes.operations import Operations
from devcluster.apiserver.writes.options import WriteOptions
from devcluster.apiserver.writes.quota import QuotaController

__all__ = ["ApiServer", "Identity", "KubeblocksVersion"]

logger = logging.getLogger(__name__)

KubeblocksVersion = Literal["v1.0.2", "v0.9.5", "v0.8.4"]
SHUTDOWN_TIMEOUT_S = 1.0
RENEWAL_CHECK_S = 3600.0


class ApiServer:
    """An API server with one state directory. Call `start` and `stop` in the event loop that serves it."""

    def __init__(
        self,
        *,
        state_dir: Path,
        tokens: Mapping[str, Identity],
        crd_dir: Path | None = None,
        kubernetes_version: str = "v1.36.2",
        kubeblocks: KubeblocksVersion = "v1.0.2",
        certificates: Certificates | None = None,
    ) -> None:
        """`tokens` are the fixed bearer tokens with the users behind them. `crd_dir` holds YAML files of
        CustomResourceDefinitions to install at start, instead of the reduced KubeBlocks ones of this package. Without
        `certificates` the server speaks plain HTTP.
        """
        self.faults = Faults()
        self.request_counts = RequestCounts()
        self.pod_logs: dict[str, Path] = {}
        """The log file of each Pod that has one, by the Pod's uid. The kubelet fills it."""
        self.registry = Registry()
        self.store = Store(state_dir / "objects.sqlite3")
        self.lifecycle = Lifecycle(self.store, self.registry)
        self.operations = Operations(self.store, self.registry, self.lifecycle)
        self._quotas = QuotaController(
            self.store,
            self.registry,
            partial(self.operations.write_quota_status, options=_QUOTA_CONTROLLER),
        )
        self._state_dir = state_dir
        self._certificates = certificates
        self._crd_paths = bootstrap.crd_paths(crd_dir, kubeblocks)
        self._authenticator = Authenticator(self.store, tokens)
        self._authorizer = Authorizer(self.store)
        backend = Backend(
            store=self.store,
            registry=self.registry,
            lifecycle=self.lifecycle,
            operations=self.operations,
            authenticator=self._authenticator,
            authorizer=self._authorizer,
            faults=self.faults,
            request_counts=self.request_counts,
            pod_logs=self.pod_logs,
        )
        self._handlers = Handlers(backend, kubernetes_version)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Start serving and return the port. OSError if it is in use, sqlite3.Error if the state is damaged."""
        self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._state_dir.chmod(0o700)
        self.store.open()
        try:
            bootstrap.install_crds(self.operations, self.registry, self._crd_paths)
            bootstrap.create_system_objects(self.operations)
            await self.store.committed()
            runner = web.AppRunner(
                self._build_application(),
                access_log=None,
                shutdown_timeout=SHUTDOWN_TIMEOUT_S,
                handler_cancellation=True,
                auto_decompress=True,
            )
            await runner.setup()
            self._runner = runner
            context = self._certificates.build_context(datetime.now(UTC)) if self._certificates else None
            site = web.TCPSite(runner, host, port, backlog=1024, ssl_context=context)
            await site.start()
        except BaseException:
            await self.stop()
            raise
        self._tasks = [
            asyncio.create_task(Collector(self.lifecycle).collect_forever(), name="garbage-collection"),
            asyncio.create_task(self._quotas.run_forever(), name="quotas"),
        ]
        if self._certificates is not None:
            self._tasks.append(asyncio.create_task(_renew_forever(self._certificates), name="certificates"))
        self._handlers.address = f"{host}:{self._bound_port(runner)}"
        return self._bound_port(runner)

    async def stop(self) -> None:
        """End open watches and requests within about a second. Every completed request is on disk."""
        self.store.drop_subscriptions()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        if self._runner is not None:
            await _close_connections(self._runner)
            self._runner = None
        self.store.close()

    def drop_watches(self, resource: str | None = None) -> int:
        """End the open watches of a resource (`pods`, `clusters.apps.kubeblocks.io`) or of all. Return their number."""
        return self.store.drop_subscriptions(resource)

    def _build_application(self) -> web.Application:
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self.answer)
        return application

    @staticmethod
    def _bound_port(runner: web.AppRunner) -> int:
        return int(runner.addresses[0][1])

    # One request

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Handle one request. Every exception becomes a Status, as on a real server."""
        try:
            return await self._dispatch(request)
        except errors.ApiError as error:
            return _respond_error(error)
        except (asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
            raise
        except Exception as error:
            logger.error("%s %s failed", request.method, request.rel_url.raw_path, exc_info=without_text(error))
            return _respond_error(errors.internal_error(f"the embedded API server failed with {type(error).__name__}"))

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        query = request.rel_url.query
        info = parse_request(request.method, request.rel_url.raw_path, query)
        authorization = request.headers.get("Authorization", "")
        identity = self._authenticator.identify(authorization) if authorization else _ANONYMOUS
        if identity is None:
            raise errors.unauthorized()
        if "Impersonate-User" in request.headers:
            identity = self._impersonate(request, identity, info)
        self.request_counts.note(info, identity.user)
        call = Call(request, info, identity, query)
        if info.path.startswith("/devcluster/"):
            return await self._handlers.answer_devcluster(call)
        fault = self.faults.draw(info, identity.user) if self.faults.rules else None
        if fault is not None and fault.kind == "status" and fault.status == 429:
            return _too_many_requests(fault)
        if not identity.is_master:
            self._authorizer.check(identity, info)
        if self.faults.latency_s and info.is_resource:
            await asyncio.sleep(self.faults.latency_s)
        if fault is not None:
            return await self._answer_with_fault(call, fault)
        return await self._answer_call(call)

    async def _answer_call(self, call: Call) -> web.StreamResponse:
        if not call.info.is_resource:
            return await self._handlers.answer_plain(call)
        response = await self._handlers.answer_resource(call)
        if isinstance(response, web.Response) and wants_yaml(call.request.headers.get("Accept", "")):
            _turn_into_yaml(response)
        return response

    def _impersonate(self, request: web.Request, identity: Identity, info: RequestInfo) -> Identity:
        """Return the impersonated user. ApiError 403 unless the user has the right to impersonate."""
        user = request.headers["Impersonate-User"]
        wanted = [Access("impersonate", "", "users", "", user)]
        groups = tuple(request.headers.getall("Impersonate-Group", []))
        wanted += [Access("impersonate", "", "groups", "", group) for group in groups]
        if not all(self._authorizer.allows(identity, one) for one in wanted):
            access = access_of(info)
            verb = f"impersonate-on:user-info:{access.verb}"
            raise refusal(identity, dataclasses.replace(access, verb=verb))
        parts = user.split(":")
        if user.startswith("system:serviceaccount:") and len(parts) == 4 and not groups:
            return service_account_identity(parts[2], parts[3])
        return Identity(user, (*groups, AUTHENTICATED))

    async def _answer_with_fault(self, call: Call, fault: Fault) -> web.StreamResponse:
        match fault.kind:
            case "status":
                raise _fault_error(fault, call.info)
            case "timeout-before":
                await asyncio.sleep(fault.seconds)
                raise _timeout_error()
            case "timeout-after":
                with contextlib.suppress(errors.ApiError):
                    await self._answer_call(call)
                await asyncio.sleep(fault.seconds)
                raise _timeout_error()
            case "reset-before":
                return _reset(call.request)
            case "reset-after":
                with contextlib.suppress(errors.ApiError):
                    await self._answer_call(call)
                return _reset(call.request)
            case "delay":
                await asyncio.sleep(fault.seconds)
                return await self._answer_call(call)
            case "slow-body":
                return await _send_slowly(call.request, await self._answer_call(call), fault.seconds)
            case _:
                call.fault = fault
                return await self._answer_call(call)


async def _close_connections(runner: web.AppRunner) -> None:
    """End requests, then abort the connections: clients with idle connections never answer the end of TLS."""
    transports = [one.transport for one in runner.server.connections] if runner.server else []
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)


async def _renew_forever(certificates: Certificates) -> None:
    while True:
        await asyncio.sleep(RENEWAL_CHECK_S)
        try:
            if certificates.renew(datetime.now(UTC)):
                logger.info("the server's certificate was renewed")
        except Exception:
            logger.exception("the server's certificate could not be renewed; trying again in %d s", RENEWAL_CHECK_S)


_QUOTA_CONTROLLER = WriteOptions(
    "system:serviceaccount:kube-system:resourcequota-controller", "kube-controller-manager"
)
_ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


def _respond_error(error: errors.ApiError) -> web.Response:
    return web.Response(
        status=error.code, body=dump(error.to_status()), content_type="application/json", headers=error.headers
    )


def _fault_error(fault: Fault, info: RequestInfo) -> errors.ApiError:
    match fault.status:
        case 500:
            return errors.internal_error("a fault was requested")
        case 503:
            return errors.service_unavailable("the server is currently unable to handle the request")
        case 401:
            return errors.unauthorized()
        case 403:
            wish = f'cannot {info.verb} resource "{info.resource}" in API group "{info.group}"'
            why = f'User "" {wish}: a fault was requested'
            return errors.forbidden(info.group, info.resource, info.name, why)
        case 404:
            return errors.not_found(info.group, info.resource, info.name)
        case 409:
            return errors.conflict(info.group, info.resource, info.name, errors.STALE_WRITE)
        case 410:
            return errors.expired("The resourceVersion for the provided list is too old.")
        case code:
            return errors.ApiError(code, "", "a fault was requested", details={})


def _too_many_requests(fault: Fault) -> web.Response:
    """429 in plain text, as priority and fairness sends it."""
    return web.Response(
        status=429,
        text="Too many requests, please try again later.\n",
        content_type="text/plain",
        headers={"Retry-After": str(fault.retry_after_s)},
    )


def _turn_into_yaml(response: web.Response) -> None:
    if response.content_type != "application/json" or not isinstance(response.body, bytes):
        return
    text = yaml.safe_dump(json.loads(response.body), sort_keys=True, allow_unicode=True)
    response.body = text.encode()
    response.content_type = "application/yaml"


def _timeout_error() -> errors.ApiError:
    return errors.ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout", details={})


def _reset(request: web.Request) -> web.Response:
    """Reset the connection without a response."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


async def _send_slowly(request: web.Request, whole: web.StreamResponse, seconds: float) -> web.StreamResponse:
    if not isinstance(whole, web.Response) or not isinstance(whole.body, bytes):
        return whole
    body = whole.body
    response = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    pieces = 8
    step = max(len(body) // pieces, 1)
    for start in range(0, len(body), step):
        await response.write(body[start : start + step])
        await asyncio.sleep(seconds / pieces)
    await response.write_eof()
    return response
